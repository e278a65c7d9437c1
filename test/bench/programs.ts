import { execFileSync } from 'node:child_process';

/** Programs that the bench runs, and the Debian package that each comes from. */
const PACKAGES = {
  'docker-registry': 'docker-registry',
  nginx: 'nginx',
  wrk: 'wrk',
  curl: 'curl',
  dockerd: 'docker.io',
  docker: 'docker.io',
  gcc: 'gcc libc6-dev',
  openssl: 'openssl',
} as const;

/** Scenarios may need more. */
const ALWAYS: readonly Program[] = ['docker-registry', 'nginx', 'wrk', 'curl'];

export type Program = keyof typeof PACKAGES;

/** Debian keeps servers where the PATH of an ordinary user does not look. */
export const PROGRAM_PATH = `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

export function missingPrograms(besides: readonly Program[]): Program[] {
  return [...new Set([...ALWAYS, ...besides])].filter((program) => !isInstalled(program));
}

export function installHint(programs: readonly Program[]): string {
  const packages = [...new Set(programs.map((program) => PACKAGES[program]))].join(' ');
  return `missing: ${programs.join(', ')}; on Debian: apt-get install ${packages}`;
}

/** The first line in which `program` states its version, e.g. `nginx version: nginx/1.22.1`. */
export function programVersion(program: Program): string {
  const flag = program === 'nginx' || program === 'wrk' ? '-v' : '--version';
  // nginx writes to standard error, and wrk exits 1.
  const output = shell(`"$0" ${flag} 2>&1 || true`, program);
  return output.split('\n')[0]?.trim() ?? '';
}

function isInstalled(program: Program): boolean {
  return shell('command -v "$0" || true', program) !== '';
}

function shell(script: string, argument: string): string {
  return execFileSync('/bin/sh', ['-c', script, argument], {
    encoding: 'utf8',
    env: { ...process.env, PATH: PROGRAM_PATH },
  });
}
