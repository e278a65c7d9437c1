/*
 * Sees to the programs that the tests run. On Debian, as root, it installs those that are missing. Anywhere else it
 * says which test files are left out for want of them; with CI=true that is an error.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { missingRequirements, PACKAGES, stuckTests } from './requirements.mjs';

/** What maintainer scripts ask before they start a service; 101 is "forbidden" (Debian's invoke-rc.d). */
const POLICY = '/usr/sbin/policy-rc.d';

const missing = missingRequirements();
if (missing.length > 0 && !missing.includes('root') && existsSync('/usr/bin/apt-get'))
  install(packagesOf(missing));
report(missingRequirements());

function packagesOf(names) {
  return [...new Set(names.map((name) => PACKAGES[name]))];
}

function install(packages) {
  say(`Installing ${packages.join(' ')} for the tests`);
  const own = !existsSync(POLICY);
  if (own) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    if (aptGet('update')) aptGet('install', '--yes', '--no-install-recommends', ...packages);
  } finally {
    if (own) rmSync(POLICY);
  }
}

/** Its output is shown if it fails. */
function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stdout, stderr, error } = spawnSync('apt-get', ['--quiet', ...args], {
    env,
    encoding: 'utf8',
  });
  if (status !== 0) say(`apt-get ${args.join(' ')} failed\n${stdout}${stderr}${error ?? ''}`);
  return status === 0;
}

function report(names) {
  if (names.length === 0) return;
  say(`The tests need what is not here: ${names.join(', ')}.`);
  const packages = packagesOf(names.filter((name) => name !== 'root'));
  if (packages.length > 0) say(`Debian has it in: ${packages.join(' ')}.`);
  if (process.env.CI === 'true') {
    process.exitCode = 1;
    return;
  }
  say('These test files are left out:');
  for (const test of stuckTests()) say(`  ${test.file} needs ${test.missing.join(', ')}`);
}

function say(text) {
  process.stderr.write(`${text}\n`);
}
