/** Bytes of a representation; `end` is exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'ranges'; readonly ranges: readonly [ByteRange, ...ByteRange[]] };

/**
 * More ranges than this in one header are answered with the whole body, as RFC 9110 section 14.2 allows. Podman asks for
 * so many at most of a zstd:chunked layer (containers/storage, pkg/chunked, `maxNumberMissingChunks`).
 */
export const MAX_RANGES = 1024;

const SPEC = /^(\d*)-(\d*)$/;

/**
 * What a `Range` header asks of a body of `size` bytes (RFC 9110 section 14). Malformed headers and other units
 * are ignored, which asks for the whole; ranges that lie beyond the end or run backwards are unsatisfiable, and
 * dropped when another range of the header can be satisfied. Ranges that overlap or meet become one, at the place of the
 * first of them (RFC 9110 section 15.3.7.2): no byte is sent twice, however often it is asked for.
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
  const [head, ...tail] = merged(ranges);
  return head === undefined ? { kind: 'unsatisfiable' } : { kind: 'ranges', ranges: [head, ...tail] };
}

function merged(ranges: readonly ByteRange[]): ByteRange[] {
  const sorted = ranges.map((range, place) => ({ ...range, place })).toSorted((a, b) => a.start - b.start);
  const joined: { start: number; end: number; place: number }[] = [];
  for (const range of sorted) {
    const last = joined.at(-1);
    if (last === undefined || range.start > last.end) joined.push({ ...range });
    else {
      last.end = Math.max(last.end, range.end);
      last.place = Math.min(last.place, range.place);
    }
  }
  return joined.toSorted((a, b) => a.place - b.place).map(({ start, end }) => ({ start, end }));
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
