import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errorCode } from './error-code.ts';

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
