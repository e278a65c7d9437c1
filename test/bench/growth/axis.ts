import type { Load } from '../load.ts';

/** What was found where there is so much of something. */
export interface GrowthPoint {
  readonly amount: number;
  readonly perSecond: number;
  readonly p99Ms: number;
}

export interface AxisContext {
  /** The checkout, which holds `dist/main.js` and the scripts of wrk. */
  readonly root: string;
  /** The Node binary that runs Pierhead. */
  readonly node: string;
  /** Empty; for this axis alone. */
  readonly folder: string;
  /** How long each load lasts. */
  readonly seconds: number;
  readonly onPoint: (point: GrowthPoint) => void;
}

/** What is promised where there is so much. */
export interface GrowthGoal {
  readonly amount: number;
  readonly perSecondAtLeast: number;
  readonly p99MsAtMost: number;
}

/** Something that there is more and more of. */
export interface Axis {
  readonly name: string;
  /** Of the plot and the table: `cached manifests`. */
  readonly noun: string;
  /** What is asked for meanwhile, for the table. */
  readonly load: string;
  readonly amounts: readonly number[];
  readonly goal?: GrowthGoal;
  measure(context: AxisContext, amounts: readonly number[]): Promise<void>;
}

export function growthPoint(amount: number, { requests, seconds, p99Ms }: Load): GrowthPoint {
  return { amount, perSecond: requests / seconds, p99Ms };
}
