/** The code of an error of the system or of Node, such as `ENOENT`; undefined: it has none, or is no error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
