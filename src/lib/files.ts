import { readFileSync, constants } from 'node:fs';
import { stat, open, type FileHandle } from 'node:fs/promises';
import { FileError, errorCode } from './errors.ts';

export interface WatchedFilesOptions<T> {
  /** Absolute paths. */
  readonly paths: readonly string[];
  /** Makes the value of their texts, which come in the order of the paths. Throws FileError. */
  readonly parse: (texts: readonly string[]) => T;
  readonly onChange: (value: T) => void;
  /** Told once per state of the files that they cannot be used; the value before them stays. */
  readonly onError: (error: unknown) => void;
}

const POLL_MS = 1000;

/**
 * What some files say, read anew when they change. They are looked at every second by `stat`, not watched: Kubernetes
 * and certificate clients swap symbolic links, of which a watch of the file hears nothing. A state that cannot be used,
 * such as a certificate whose key has not been written yet, changes nothing and is tried again at each look.
 */
export class WatchedFiles<T> {
  readonly #options: WatchedFilesOptions<T>;
  readonly #timer: NodeJS.Timeout;
  #texts: readonly string[];
  #value: T;
  /** The states of the files that were read last, and that were complained about. */
  #loaded: string | undefined;
  #failed: string | undefined;
  #isLooking = false;
  #isClosed = false;

  /** Throws FileError if the files cannot be used at all. */
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
    // Taken before the files are read: what changes in between is another state, and read again.
    const states = await Promise.all(this.#options.paths.map(stateOf));
    this.#isLooking = false;
    const state = states.join('\n');
    // A pipe gives its text once, and would be waited for the next time.
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

/** Undefined: it is not a file. */
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

/** Something else is where a file should be: a pipe, a device, a socket or a folder. */
export class NotAFileError extends Error {
  override readonly name = 'NotAFileError';
  readonly code = 'not-a-file';
}

/**
 * Opens a file to be read or, by `flags`, written as well. What is no file is never waited for: to open a pipe that nobody
 * writes to keeps one of the four threads that all files are read by, and the process from ending. Throws the system's
 * error or NotAFileError.
 */
export async function openRegularFile(path: string, flags: number = constants.O_RDONLY): Promise<FileHandle> {
  const file = await open(path, flags | constants.O_NONBLOCK).catch((cause: unknown) => {
    const code = errorCode(cause);
    // A socket, and a folder that is to be written.
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
