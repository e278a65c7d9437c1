/**
 * True if a client that sent `accept` (all its Accept lines joined by commas) can be given `mediaType`. Absent,
 * empty, `*` + `/*` and `application/*` accept everything; parameters such as `q` are ignored, as distribution
 * does: clients list manifest types to say what they can read, not what they prefer.
 */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  if (accept === undefined || accept.trim() === '') return true;
  for (const element of accept.split(',')) {
    const semicolon = element.indexOf(';');
    const range = (semicolon < 0 ? element : element.slice(0, semicolon)).trim().toLowerCase();
    if (range === mediaType || range === '*/*' || range === 'application/*') return true;
  }
  return false;
}
