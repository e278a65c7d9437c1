/** Bytes of a representation; `end` is exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'ranges'; readonly ranges: readonly [ByteRange, ...ByteRange[]] };

/** More ranges than this in one header are answered with the whole body, as RFC 9110 section 14.2 allows. */
export const MAX_RANGES = 16;

const SPEC = /^(\d*)-(\d*)$/;

/**
 * What a `Range` header asks of a body of `size` bytes (RFC 9110 section 14). Malformed headers and other units
 * are ignored, which asks for the whole; ranges that lie beyond the end or run backwards are unsatisfiable, and
 * dropped when another range of the header can be satisfied.
 */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  if (header === undefined) return { kind: 'whole' };
  const equals = header.indexOf('=');
  if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return { kind: 'whole' };
  const specs = header
    .slice(equals + 1)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '');
  if (specs.length === 0 || specs.length > MAX_RANGES) return { kind: 'whole' };
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const match = SPEC.exec(spec);
    const first = match?.[1] ?? '';
    const last = match?.[2] ?? '';
    if (first === '' && last === '') return { kind: 'whole' };
    const range = resolve(first, last, size);
    if (range !== undefined) ranges.push(range);
  }
  const [head, ...tail] = ranges;
  return head === undefined ? { kind: 'unsatisfiable' } : { kind: 'ranges', ranges: [head, ...tail] };
}

function resolve(first: string, last: string, size: number): ByteRange | undefined {
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? undefined : { start: size - length, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return start >= size || start >= end ? undefined : { start, end };
}

/** The value of `Content-Range` for `range` of a body of `size` bytes; the total is numeric, as Docker demands. */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}
