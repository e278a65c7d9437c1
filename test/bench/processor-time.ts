import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { processTree } from './process-probe.ts';

/** USER_HZ, which Linux fixes at 100 for what it tells user space (proc(5)). */
const TICKS_PER_SECOND = 100;
const NS_PER_SECOND = 1e9;

/** What the threads of Node do: the main thread serves; V8's compile and collect; the pool is libuv's; workers are started by the program. */
export type ThreadKind = 'main' | 'v8' | 'pool' | 'worker';

export interface ThreadTime {
  /** Undefined: it could not be told, at that moment. */
  readonly kind: ThreadKind | undefined;
  readonly seconds: number;
}

/** Processor time of a server so far. */
export interface ProcessorTime {
  /** Of its processes in seconds, threads included that have ended. */
  readonly all: number;
  /** Of the threads that there are, by their ids, if it is Node. */
  readonly threads: ReadonlyMap<number, ThreadTime>;
}

/** Seconds. What `cpu` has more than the others together is of threads that have ended. */
export interface UsedTime {
  readonly cpu: number;
  readonly mainCpu?: number;
  readonly v8Cpu?: number;
  readonly poolCpu?: number;
  readonly workerCpu?: number;
}

export const NO_TIME: ProcessorTime = { all: 0, threads: new Map() };

/** Of a process and its children. */
export async function processorTime(pid: number): Promise<ProcessorTime> {
  const pids = await processTree(pid);
  const all = (await Promise.all(pids.map(processSeconds))).reduce((sum, seconds) => sum + seconds, 0);
  return { all, threads: (await isNode(pid)) ? await threadTimes(pid) : new Map() };
}

/** Between two moments, for each of so many units of what was done. */
export function usedTime(before: ProcessorTime, after: ProcessorTime, units = 1): UsedTime {
  const cpu = (after.all - before.all) / units;
  if (after.threads.size === 0) return { cpu };
  const sums = { main: 0, v8: 0, pool: 0, worker: 0 };
  for (const [id, { kind, seconds }] of after.threads) {
    const earlier = before.threads.get(id);
    const known = kind ?? earlier?.kind;
    if (known !== undefined) sums[known] += (seconds - (earlier?.seconds ?? 0)) / units;
  }
  return { cpu, mainCpu: sums.main, v8Cpu: sums.v8, poolCpu: sums.pool, workerCpu: sums.worker };
}

/** `utime` and `stime`, fields 14 and 15; the command before them may hold spaces, so counted from its bracket. */
async function processSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function isNode(pid: number): Promise<boolean> {
  return basename(await readlink(`/proc/${pid}/exe`)).startsWith('node');
}

async function threadTimes(pid: number): Promise<Map<number, ThreadTime>> {
  const ids = (await readdir(`/proc/${pid}/task`)).map(Number);
  const times = await Promise.all(ids.map(async (id) => [id, await threadTime(pid, id)] as const));
  return new Map(times.flatMap(([id, time]) => (time === undefined ? [] : [[id, time]])));
}

/** Undefined: it has ended since it was listed. */
async function threadTime(pid: number, id: number): Promise<ThreadTime | undefined> {
  const read = (name: string): Promise<string> => readFile(`/proc/${pid}/task/${id}/${name}`, 'utf8');
  try {
    // Its first number: time on a processor, in ns.
    const seconds = parseInt(await read('schedstat')) / NS_PER_SECOND;
    if (id === pid) return { kind: 'main', seconds };
    const thread = { name: await read('comm'), waitsIn: await read('wchan'), status: await read('status') };
    return { kind: threadKind(thread), seconds };
  } catch {
    return undefined;
  }
}

/** What Linux tells of a thread: `comm`, `wchan` and `status` of proc(5). */
export interface ThreadTraits {
  readonly name: string;
  /** Where it sleeps in the kernel; `0` if it runs. */
  readonly waitsIn: string;
  readonly status: string;
}

/** Of a thread that is not the main thread. Node 24 gives names; Node 20 gives none. */
export function threadKind({ name, waitsIn, status }: ThreadTraits): ThreadKind | undefined {
  if (/V8Worker|^DelayedTask|^SignalInspector/.test(name)) return 'v8';
  if (name.startsWith('libuv-worker')) return 'pool';
  if (name.startsWith('WorkerThread')) return 'worker';
  // Those of V8 and of the inspector start while Node blocks SIGUSR1, which is the tenth bit.
  const blocked = Number.parseInt(/^SigBlk:\s+(\w+)/m.exec(status)?.[1]?.slice(-3) ?? '0', 16);
  if ((blocked & 0x200) !== 0) return 'v8';
  // A worker sleeps in its own event loop, a thread of the pool at a lock.
  if (waitsIn.includes('epoll') || waitsIn.includes('ep_poll')) return 'worker';
  return waitsIn.includes('futex') ? 'pool' : undefined;
}
