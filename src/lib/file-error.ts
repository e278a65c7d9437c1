/** A file that a setting names holds something else than it should. The message quotes nothing of it. */
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly code = 'file-invalid';
}
