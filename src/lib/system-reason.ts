import { getSystemErrorMap } from 'node:util';

/**
 * Why the system refused, without the path that it names: `no space left on device (ENOSPC)`. That path is often a
 * temporary one, and the caller names the file that people know.
 */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known =
    'errno' in error && typeof error.errno === 'number' ? getSystemErrorMap().get(error.errno) : undefined;
  if (known === undefined) return error.message;
  const [code, text] = known;
  return `${text} (${code})`;
}
