import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** The share of the processors that others may use without making figures doubtful. */
const QUIET_SHARE = 0.25;

/** The circumstances of a run, as they are when it begins. */
export interface Circumstances {
  /** One line for the page: date, commit, machine, load. */
  readonly line: string;
  /** A sentence, if the machine has other work to do. */
  readonly warning: string | undefined;
}

export function circumstances(root: string): Circumstances {
  const [load = 0] = loadavg();
  const day = new Date().toISOString().slice(0, 10);
  const isBusy = load > cpus().length * QUIET_SHARE;
  const warning = isBusy
    ? `the machine had other work to do (load average ${load.toFixed(2)}): these figures say little`
    : undefined;
  const line = [
    `${day}, commit ${commit(root) ?? 'unknown'}, Node ${process.version}`,
    machine(),
    `Load average at the start: ${load.toFixed(2)}${isBusy ? ': **the machine had other work to do**' : ''}`,
  ].join('. ');
  return { line: `${line}.`, warning };
}

/** One line: processor, cores, memory, kernel, distribution. */
function machine(): string {
  const cores = cpus();
  const memoryGib = Math.round(totalmem() / 1024 ** 3);
  const distribution = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  return `${cores[0]?.model.trim() ?? '?'}, ${cores.length} cores, ${memoryGib} GiB, Linux ${release()}, ${distribution}`;
}

/** The commit that is measured, with a mark if the checkout differs from it; undefined outside of a checkout. */
function commit(root: string): string | undefined {
  return git(root, ['describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']);
}

/** The newest tag before the commit that is checked out. */
export function lastRelease(root: string): string | undefined {
  return git(root, ['describe', '--tags', '--abbrev=0', 'HEAD^']);
}

function git(root: string, args: readonly string[]): string | undefined {
  try {
    const output = execFileSync('git', ['-C', root, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return output.trim();
  } catch {
    return undefined;
  }
}
