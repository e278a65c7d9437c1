/** The machine does not give what the server needs to start. The message says what, by which setting, and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code = 'cannot-start';
}
