# SPDX-License-Identifier: MIT
# shellcheck shell=sh
expect "plan lists systems and models" 0 'gb200-nvl72' '' -- plan list
expect "plan refuses an unknown subcommand" 2 '' 'unknown subcommand' -- plan frobnicate
expect "plan says which catalogue is missing" 3 '' 'no catalogue "/nowhere/hardware"' -- plan list --data /nowhere
