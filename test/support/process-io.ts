import { readFile } from 'node:fs/promises';

/** What a process has copied from and to the kernel by read(2), write(2) and the like: files and sockets. */
export interface ProcessIo {
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Calls. */
  readonly writes: number;
}

/** proc(5), `/proc/pid/io`: `rchar`, `wchar` and `syscw`, of all threads. */
export async function processIo(pid: number): Promise<ProcessIo> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  const field = (name: string): number => {
    const found = new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1];
    if (found === undefined) throw new Error(`/proc/${pid}/io tells no ${name}`);
    return Number(found);
  };
  return { readBytes: field('rchar'), writtenBytes: field('wchar'), writes: field('syscw') };
}

/** What `work` had it copy. */
export async function copiedWhile(pid: number, work: () => Promise<void>): Promise<ProcessIo> {
  const before = await processIo(pid);
  await work();
  const after = await processIo(pid);
  return {
    readBytes: after.readBytes - before.readBytes,
    writtenBytes: after.writtenBytes - before.writtenBytes,
    writes: after.writes - before.writes,
  };
}
