import { readdir, readFile, readlink } from 'node:fs/promises';

const SAMPLE_EVERY_MS = 200;

/** What a process holds in memory, in bytes. */
export interface Memory {
  /** Its own: heaps, stacks, buffers; not the files that it has mapped. */
  readonly anonBytes: number;
  /** All that is resident, mapped files included. */
  readonly residentBytes: number;
}

/** proc(5): `RssAnon` and `VmRSS`, both in kB. */
export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return { anonBytes: kilobytes('RssAnon') * 1024, residentBytes: kilobytes('VmRSS') * 1024 };
}

/** Of a process and its children together. */
export async function residentBytesOfTree(pid: number): Promise<number> {
  const each = await Promise.all((await processTree(pid)).map(memoryOf));
  return each.reduce((sum, memory) => sum + memory.residentBytes, 0);
}

/** A process and its children. */
export async function processTree(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return [pid, ...children.trim().split(' ').filter(Boolean).map(Number)];
}

/** What each descriptor of a process leads to: paths, and sockets and the like by their kind. */
export async function openDescriptors(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const targets = await Promise.all(
    (await readdir(folder)).map((name) => readlink(`${folder}/${name}`).catch(() => undefined)),
  );
  return targets.filter((target) => target !== undefined).map((target) => target.replace(/:\[\d+\]$/, ''));
}

/** The most memory that a process is seen to hold. */
export class MemoryWatch {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  #peak: Memory = { anonBytes: 0, residentBytes: 0 };

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => void this.#sample(), SAMPLE_EVERY_MS);
  }

  get peak(): Memory {
    return this.#peak;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #sample(): Promise<void> {
    // One that has ended holds nothing.
    const now = await memoryOf(this.#pid).catch(() => undefined);
    if (now === undefined) return;
    const { anonBytes, residentBytes } = this.#peak;
    this.#peak = {
      anonBytes: Math.max(anonBytes, now.anonBytes),
      residentBytes: Math.max(residentBytes, now.residentBytes),
    };
  }
}
