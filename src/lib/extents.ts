/** Bytes from `start` up to and not including `end`. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

/** The set of bytes that are present: disjoint extents that do not touch, in ascending order. */
export class Extents {
  readonly #list: { start: number; end: number }[] = [];

  constructor(extents: Iterable<Extent> = []) {
    for (const extent of extents) this.add(extent);
  }

  get list(): readonly Extent[] {
    return this.#list;
  }

  /** The number of bytes present. */
  get bytes(): number {
    return this.#list.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** The end of the present bytes that begin at 0, exclusive. */
  get prefix(): number {
    return this.coveredTo(0);
  }

  add({ start, end }: Extent): void {
    if (start >= end) return;
    const first = this.#list.findIndex((extent) => extent.end >= start);
    const from = first < 0 ? this.#list.length : first;
    let to = from;
    const joined = { start, end };
    for (let next = this.#list[to]; next !== undefined && next.start <= end; next = this.#list[to]) {
      joined.start = Math.min(joined.start, next.start);
      joined.end = Math.max(joined.end, next.end);
      to++;
    }
    this.#list.splice(from, to - from, joined);
  }

  /** The end of the present bytes that begin at `position`; `position` itself if that byte is missing. */
  coveredTo(position: number): number {
    return this.#list.find(({ start, end }) => start <= position && position < end)?.end ?? position;
  }

  /** The start of the next extent after `position`; undefined if there is none. */
  nextStart(position: number): number | undefined {
    return this.#list.find(({ start }) => start > position)?.start;
  }

  /** The missing extents of the first `size` bytes. */
  gaps(size: number): Extent[] {
    const gaps: Extent[] = [];
    let start = 0;
    for (const extent of this.#list) {
      if (extent.start >= size) break;
      if (start < extent.start) gaps.push({ start, end: extent.start });
      start = extent.end;
    }
    if (start < size) gaps.push({ start, end: size });
    return gaps;
  }
}
