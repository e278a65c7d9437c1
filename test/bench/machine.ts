import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** One line: processor, cores, memory, kernel, distribution. */
export function machine(): string {
  const cores = cpus();
  const memoryGib = Math.round(totalmem() / 1024 ** 3);
  const distribution = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  return `${cores[0]?.model.trim() ?? '?'}, ${cores.length} cores, ${memoryGib} GiB, Linux ${release()}, ${distribution}`;
}

/** The commit that is measured, with a mark if the checkout differs from it; undefined outside of a checkout. */
export function commit(root: string): string | undefined {
  try {
    return execFileSync('git', ['-C', root, 'describe', '--always', '--dirty', '--abbrev=12'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
