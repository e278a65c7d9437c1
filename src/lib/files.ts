import { readFileSync, constants } from 'node:fs';
import { stat, open, type FileHandle } from 'node:fs/promises';
import { FileError, errorCode } from './errors.ts';

export interface WatchedFilesOptions<T> {
  /** Absolute paths. */
  readonly paths: readonly string[];
  /** Parses the texts of the files, in the order of `paths`. Throws FileError. */
  readonly parse: (texts: readonly string[]) => T;
  readonly onChange: (value: T) => void;
  /** Called once for each unusable state of the files; the previous value stays. */
  readonly onError: (error: unknown) => void;
}

const POLL_MS = 1000;

/**
 * The parsed content of some files, read again when they change. Files are polled by `stat` every second, not
 * watched: Kubernetes and certificate clients swap symbolic links, which a watch of the file does not report. An
 * unusable state, such as a certificate whose key is not written yet, changes nothing and is tried again at the next
 * poll.
 */
export class WatchedFiles<T> {
  readonly #options: WatchedFilesOptions<T>;
  readonly #timer: NodeJS.Timeout;
  #texts: readonly string[];
  #value: T;
  /** The state that was read last, and the last one that `onError` reported. */
  #loaded: string | undefined;
  #failed: string | undefined;
  #isLooking = false;
  #isClosed = false;

  /** Throws FileError if the files are unusable at the start. */
  constructor(options: WatchedFilesOptions<T>) {
    this.#options = options;
    this.#texts = this.#read();
    this.#value = options.parse(this.#texts);
    this.#timer = setInterval(() => void this.#look(), POLL_MS);
    this.#timer.unref();
  }

  get value(): T {
    return this.#value;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
  }

  #read(): readonly string[] {
    return this.#options.paths.map((path) => {
      try {
        return readFileSync(path, 'utf8');
      } catch (cause) {
        throw new FileError(`cannot read ${path} (${codeOf(cause)})`, { cause });
      }
    });
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    // The state is taken before the files are read: a change in between is then another state, and read again.
    const states = await Promise.all(this.#options.paths.map(stateOf));
    this.#isLooking = false;
    const state = states.join('\n');
    // A pipe gives its text once; the next read would block.
    if (this.#isClosed || states.includes(undefined) || state === this.#loaded) return;
    try {
      const texts = this.#read();
      const isSame = texts.every((text, at) => text === this.#texts[at]);
      const value = isSame ? this.#value : this.#options.parse(texts);
      this.#loaded = state;
      this.#failed = undefined;
      if (isSame) return;
      this.#texts = texts;
      this.#value = value;
      this.#options.onChange(value);
    } catch (error) {
      if (this.#failed !== state) this.#options.onError(error);
      this.#failed = state;
    }
  }
}

/** Undefined: not a regular file. */
async function stateOf(path: string): Promise<string | undefined> {
  try {
    const file = await stat(path, { bigint: true });
    if (!file.isFile()) return undefined;
    const { dev, ino, size, mtimeNs, ctimeNs } = file;
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return errorCode(error) ?? 'unreadable';
}

/** A pipe, device, socket or folder stands at the path of a file. */
export class NotAFileError extends Error {
  override readonly name = 'NotAFileError';
  readonly code = 'not-a-file';
}

/**
 * Opens a regular file for reading or, by `flags`, writing. Never blocks on anything else: opening a pipe without a
 * writer would hold one of Node's four file threads and keep the process alive. Throws the system's error or
 * NotAFileError.
 */
export async function openRegularFile(path: string, flags: number = constants.O_RDONLY): Promise<FileHandle> {
  const file = await open(path, flags | constants.O_NONBLOCK).catch((cause: unknown) => {
    const code = errorCode(cause);
    // ENXIO: a socket. EISDIR: a folder, opened for writing.
    throw code === 'ENXIO' || code === 'EISDIR'
      ? new NotAFileError(`${path} is not a file`, { cause })
      : cause;
  });
  try {
    if (!(await file.stat()).isFile()) throw new NotAFileError(`${path} is not a file`);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The text of a file. Throws the system's error or NotAFileError. */
export async function readRegularFile(path: string): Promise<string> {
  const file = await openRegularFile(path);
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
