# SPDX-License-Identifier: MIT
# shellcheck shell=sh
expect "plan lists systems and models" 0 'gb200-nvl72' '' -- plan list
expect "plan without a model is wrong usage" 2 '' 'usage: tokamak plan' -- plan
expect "plan says which catalogue is missing" 3 '' 'no catalogue "/nowhere/hardware"' -- plan list --data /nowhere
expect "plan needs a system" 2 '' '--system is needed' -- plan deepseek-r1
expect "plan suggests the nearest system" 3 '' 'did you mean "dgx-b200"' -- plan deepseek-r1 --system dgx-b20
expect "plan suggests the nearest model" 3 '' 'did you mean "llama-3.1-8b"' -- plan llama-3.1-8 --system b200
expect "plan suggests the nearest backend" 2 '' 'did you mean "vllm"' -- plan deepseek-r1 --system dgx-b200 --backend vlm
expect "plan says that a model does not fit" 4 '' 'does not fit 8 x h100' -- plan deepseek-r1 --system dgx-h100
expect "plan finds a layout and its price" 0 '"usd_per_mtok":' '' -- plan deepseek-r1 --system dgx-b200 --precision fp4 --qos chat --json -
expect "plan prices a config.json" 0 'tokens/s per user' '' -- plan "$root/models/configs/qwen3-8b.json" --system h100 --precision bf16
expect "plan says when no layout keeps the level" 1 'no layout keeps' '' -- plan llama-3.1-405b --system dgx-h200 --precision fp8 --tpot 1
expect "plan refuses a PUE that divides" 2 '' '--pue is 0.77' -- plan llama-3.1-8b --system h100 --pue 0.77
expect "plan refuses negative prices" 2 '' '--price is -5' -- plan llama-3.1-8b --system h100 --price -5
expect "plan refuses a level it cannot read" 2 '' 'neither TTFT/TPOT' -- plan llama-3.1-8b --system h100 --qos fast
expect "plan takes underscores" 0 '"accelerators":4,' '' -- plan llama-3.1-8b --system dgx-b200 --total_gpus 4 --json -
expect "plan simulates percentiles" 0 '"p99":' '' -- plan simulate llama-3.1-8b --system h100 --osl 128 --requests 2000 --json -
apart="llama-3.1-70b --system dgx-h200 --total-gpus 32 --isl 8192 --osl 256 --qos 5000/20"
# shellcheck disable=SC2086  # words
expect "plan weighs separate pools" 0 'layout +[0-9]+ x \[.*\] prefill, [0-9]+ x \[.*\] decode' '' -- plan $apart
expect "plan says which way of serving it chose" 0 '^chosen: disaggregated' '' -- plan $apart
expect "plan says what the transfer costs" 0 '^transfer of the cache +[0-9.]+ MB per prompt over the network: [0-9.]+ ms' '' -- plan $apart
expect "plan keeps to aggregated layouts when asked" 0 '"best":\{"kind":"aggregated".*"disaggregated":null' '' -- plan $apart --aggregated --json -
expect "plan tells both pools in JSON" 0 '"disaggregated":\{"kind":"disaggregated".*"prefill":\{"instances":[0-9]+,"ranks":.*"decode":\{"instances".*"transfer":\{"bytes":[0-9.]+,"ms":[0-9.]+,"over":"scale-(up|out)"' '' -- plan llama-3.1-70b --system dgx-h200 --qos chat --json -
expect "plan simulates separate pools" 0 'its share of the prefill pool' '' -- plan simulate $apart --requests 2000
expect "plan compare needs a model" 2 '' 'needs --model' -- plan compare dgx-h100 dgx-b200
expect "plan compare attributes and recomputes" 0 '"claim":"15x inference' '' -- plan compare dgx-h100 dgx-b200 --model llama-3.1-8b --total-gpus 8 --qos chat --json - --html "$work/report.html"
expect "the page is self-contained" 0 '' '' -- version
if grep -q '</html>' "$work/report.html" && grep -q '<tr><td>disaggregated<td' "$work/report.html" && ! grep -Eq '(src|href)=|@import|url\(' "$work/report.html"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "FAILED: the page of plan compare refers to something outside"
fi
printf 'id,kind,metric,model,accelerator,n_accel,precision,framework,parallelism,isl,osl,concurrency_or_batch,value\na,inference,tpot_mean,llama-3.1-70b,H100,4,fp8,vllm,TP4,1024,1024,16,20\nb,inference,tpot_mean,nothing,H100,4,fp8,vllm,TP4,1024,1024,16,20\n' >"$work/points.csv"
expect "plan validate answers every row" 0 '"id":"a","value":20.0,"prediction":.*"interval":\[.*\],"tier":".*"error":.*"sources":\[.*\{"id":"b","refused":"unknown model' '' -- plan validate --points "$work/points.csv" --json -
expect "plan validate names a missing column" 3 '' 'no column "id"' -- plan validate --points "$root/tests/cli/run.sh"
