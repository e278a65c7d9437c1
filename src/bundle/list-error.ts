/** A file that is to name images cannot be read as such; `message` says which, where and why. */
export class ListError extends Error {
  override readonly name = 'ListError';
  readonly code = 'list-invalid';
}

const MAX_QUOTED_LENGTH = 80;

/** `text` in quotes for a message of one line, cut if it is long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text);
}
