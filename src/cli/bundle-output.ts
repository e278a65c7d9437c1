import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Flags } from '../config/flags.ts';
import { SettingsError } from '../config/units.ts';
import { systemReason } from '../lib/errors.ts';
import { unlessAborted } from '../lib/promises.ts';
import { OperationError } from '../operations/protocol.ts';

export const STDOUT = '-';
const MAX_PARTS = 999;

export interface OutputOptions {
  /** `-`: standard output. */
  readonly path: string;
  /** Size of a part; undefined: one file. */
  readonly partBytes: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Writes `bytes` to a file, or to the parts `path.001`, `path.002` …, and returns the names. The files get their names after
 * all of them are synced to the disk; a failure leaves no file. Throws OperationError, the errors of `bytes` and the
 * reason of the signal.
 */
export async function writeStream(bytes: AsyncIterable<Buffer>, options: OutputOptions): Promise<string[]> {
  const { path, partBytes, signal } = options;
  if (path === STDOUT) {
    await writeStdout(bytes, signal);
    return [path];
  }
  const files = partBytes === undefined ? new PlainOutput(path) : new SplitOutput(path, partBytes);
  // Reads and hashes the next chunk while one is being written.
  let written = Promise.resolve();
  try {
    for await (const chunk of bytes) {
      signal.throwIfAborted();
      await written;
      written = files.write(chunk);
      written.catch(() => undefined);
    }
    await written;
    return await files.finish();
  } catch (error) {
    await written.catch(() => undefined);
    await files.discard();
    throw error;
  }
}

async function writeStdout(bytes: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  // A reader that closes the pipe causes this event. Without a listener, it would end the process.
  process.stdout.on('error', () => undefined);
  for await (const chunk of bytes) {
    // The end of the process would drop unwritten chunks.
    const written = new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => (error instanceof Error ? reject(error) : resolve()));
    });
    await unlessAborted(written, signal);
  }
}

/** A file with a temporary name until `publish`. */
class TemporaryFile {
  readonly #temporary: string;
  readonly #path: string;
  #file: FileHandle | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  }

  write(chunk: Buffer): Promise<void> {
    return this.#named(async () => {
      this.#file ??= await open(this.#temporary, 'wx');
      for (let at = 0; at < chunk.length;) at += (await this.#file.write(chunk, at)).bytesWritten;
    });
  }

  /** Syncs, because the user may remove the medium afterwards. */
  close(): Promise<void> {
    return this.#named(async () => {
      await this.#file?.sync();
      await this.#file?.close();
      this.#file = undefined;
    });
  }

  async publish(): Promise<string> {
    await this.#named(() => rename(this.#temporary, this.#path));
    return this.#path;
  }

  /** Replaces the temporary name in the system's errors. */
  async #named(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw new OperationError('failed', `cannot write ${this.#path}: ${systemReason(error)}`, error);
    }
  }

  async discard(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    await rm(this.#temporary, { force: true });
  }
}

class PlainOutput {
  readonly #file: TemporaryFile;

  constructor(path: string) {
    this.#file = new TemporaryFile(path);
  }

  write(chunk: Buffer): Promise<void> {
    return this.#file.write(chunk);
  }

  async finish(): Promise<string[]> {
    await this.#file.close();
    return [await this.#file.publish()];
  }

  discard(): Promise<void> {
    return this.#file.discard();
  }
}

class SplitOutput {
  readonly #path: string;
  readonly #partBytes: number;
  readonly #parts: TemporaryFile[] = [];
  #leftBytes = 0;

  constructor(path: string, partBytes: number) {
    this.#path = path;
    this.#partBytes = partBytes;
  }

  async write(chunk: Buffer): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      if (this.#leftBytes === 0) await this.#next();
      const piece = rest.subarray(0, this.#leftBytes);
      await this.#parts.at(-1)?.write(piece);
      this.#leftBytes -= piece.length;
      rest = rest.subarray(piece.length);
    }
  }

  async finish(): Promise<string[]> {
    await this.#parts.at(-1)?.close();
    // `import x.*` would read an old part as part of this bundle.
    const behind = this.#name(this.#parts.length + 1);
    if (existsSync(behind))
      throw new OperationError('failed', `${behind} is part of another bundle; remove it`);
    const names: string[] = [];
    for (const part of this.#parts) names.push(await part.publish());
    return names;
  }

  async discard(): Promise<void> {
    for (const part of this.#parts) await part.discard();
  }

  async #next(): Promise<void> {
    if (this.#parts.length === MAX_PARTS) {
      throw new OperationError('usage', `more than ${MAX_PARTS} parts: --split; set a larger size`);
    }
    await this.#parts.at(-1)?.close();
    this.#parts.push(new TemporaryFile(this.#name(this.#parts.length + 1)));
    this.#leftBytes = this.#partBytes;
  }

  #name(number: number): string {
    return `${this.#path}.${String(number).padStart(3, '0')}`;
  }
}

/** The value of `-o`. Throws SettingsError. */
export function outputOf(flags: Flags): string {
  const path = flags['output'];
  if (typeof path !== 'string' || path === '') {
    throw new SettingsError(['-o is missing: the file to write, or - for the standard output']);
  }
  if (path === STDOUT && process.stdout.isTTY) {
    throw new SettingsError(['-o -: the output is not for a terminal; set a file, or use a pipe']);
  }
  return path;
}
