# SPDX-License-Identifier: MIT
# shellcheck shell=sh
expect "version is one JSON object" 0 '^\{"version":"[0-9.]+","commit":.*"compiler":.*"isa_built":\["ref","avx2","avx512","amx"\]' '' -- version --json
expect "help lists the commands" 0 'inspect' '' -- help
expect "help explains a command" 0 'usage: tokamak inspect' '' -- help inspect
expect "--help after a command explains it" 0 'usage: tokamak logits' '' -- logits --help
expect "no command is wrong usage" 2 '' 'usage: tokamak COMMAND' --
expect "an unknown command suggests the nearest" 2 '' 'did you mean "inspect"' -- inspekt
expect "an unknown option suggests the nearest" 2 '' 'did you mean --json' -- version --jsno
expect "a missing model is bad input" 3 '' '"/nowhere" does not exist' -- inspect /nowhere
expect "a missing argument is wrong usage" 2 '' 'usage: tokamak inspect' -- inspect
expect "a model that was not pulled says how" 3 '' 'tokamak pull no-such/model' -- inspect no-such/model
expect "TOKAMAK_CPU is checked" 3 '' 'does not exist' -- inspect /nowhere
expect "control characters in a message are shown, not sent" 3 '' '/no\\x1b\[2Jwhere' -- inspect "$(printf '/no\033[2Jwhere')"
