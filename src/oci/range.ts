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
 * A request with more ranges gets the whole body, as RFC 9110 section 14.2 allows. Podman asks for at most this many
 * in a zstd:chunked layer (containers/storage, pkg/chunked, `maxNumberMissingChunks`).
 */
export const MAX_RANGES = 1024;

const SPEC = /^(\d*)-(\d*)$/;

/**
 * Parses a `Range` header for a body of `size` bytes (RFC 9110 section 14). Malformed headers and other units are
 * ignored: the whole body. A range beyond the end, or backwards, is dropped if another range is satisfiable; else the
 * request is unsatisfiable. Ranges that overlap or touch become one, at the place of the first of them (RFC 9110
 * section 15.3.7.2), so no byte is sent twice.
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

/** The value of `Content-Range` for `range` of a body of `size` bytes. Docker needs a numeric total. */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}
