import type { TagRecord } from './manifest-store.ts';

/**
 * Whether `record` is to take the place of `known`: what was confirmed later counts, and of what was confirmed at the
 * same time, what was checked later. So a check that failed takes nothing back that was confirmed while it ran.
 */
export function replaces(record: TagRecord, known: TagRecord): boolean {
  if (record.confirmedAt !== known.confirmedAt) return record.confirmedAt > known.confirmedAt;
  return record.checkedAt >= known.checkedAt;
}
