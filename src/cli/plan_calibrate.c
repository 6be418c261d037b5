#include "cli/plan.h"
tk_status tk_plan_calibrate(const tk_plan_call *c, tk_err *err)
{
    (void)c;
    return tk_fail(err, TK_UNSUPPORTED, "x");
}
