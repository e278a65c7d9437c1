/** A limit that holds at some time of day, or at any. */
export interface DailyLimit {
  /** Minutes since midnight; the end is not part of it, and lies in the next day if it is before the start. */
  readonly between?: { readonly start: number; readonly end: number };
  readonly bytesPerSecond: number | undefined;
}

/** The first of `limits` that holds at `nowMs`, by this machine's clock and time zone; undefined: there is none. */
export function limitAt(limits: readonly DailyLimit[], nowMs: number): number | undefined {
  const now = new Date(nowMs);
  const minute = now.getHours() * 60 + now.getMinutes();
  return limits.find(({ between }) => between === undefined || holds(between, minute))?.bytesPerSecond;
}

function holds({ start, end }: { readonly start: number; readonly end: number }, minute: number): boolean {
  return start < end ? minute >= start && minute < end : minute >= start || minute < end;
}
