export interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

export interface Dump {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

export class ReachedText {
  constructor(program: string);
  add(dump: Dump): void;
  lines(
    name: string,
    built: { readonly text: string; readonly map: unknown },
  ): { readonly code: number; readonly missed: readonly number[] };
}

export function lineRanges(lines: readonly number[]): string;
