/**
 * What accepts every manifest: all of them are `application/…+json`. Scripts name plain JSON, and Java's own client a
 * lone `*` (`HttpURLConnection`); Docker Hub answers both by what it has.
 */
const ANYTHING: ReadonlySet<string> = new Set(['*/*', '*', 'application/*', 'application/json']);

/**
 * True if a client that sent `accept` (all its Accept lines joined by commas) can be given `mediaType`. Absent and empty
 * accept everything; parameters such as `q` are ignored, as distribution does: clients list manifest types to say what
 * they can read, not what they prefer.
 */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  for (const element of accept.split(',')) {
    const semicolon = element.indexOf(';');
    const range = (semicolon < 0 ? element : element.slice(0, semicolon)).trim().toLowerCase();
    if (range === mediaType || ANYTHING.has(range)) return true;
  }
  return false;
}
