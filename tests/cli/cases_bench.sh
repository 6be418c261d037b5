# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Commands in two words.
expect "a group alone is wrong usage and lists its commands" 2 '' 'bench kernel' -- bench
expect "help explains a group" 0 'bench kernel' '' -- help bench
expect "a group explains itself" 0 'bench kernel' '' -- bench --help
expect "help explains a command of a group" 0 'usage: tokamak bench kernel' '' -- help bench kernel
expect "--help after a command of a group" 0 'usage: tokamak bench kernel' '' -- bench kernel --help
expect "a misspelt command of a group" 2 '' 'unknown command "bench kernal"; did you mean "bench kernel"' -- bench kernal
expect "a misspelt group" 2 '' 'unknown command "bnch"' -- bnch kernel
expect "help explains bench serve" 0 'usage: tokamak bench serve' '' -- help bench serve
expect "the man page has the group's commands" 0 'bench kernel' '' -- help --man
