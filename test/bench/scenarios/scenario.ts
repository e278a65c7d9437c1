import type { Content } from '../content.ts';
import type { LayeredImage } from '../layers.ts';
import type { UsedTime } from '../processor-time.ts';
import type { Program } from '../programs.ts';
import type { ServerProcess } from '../server-process.ts';
import type { SparseBlob } from '../sparse-blobs.ts';
import type { UpstreamRegistry } from '../upstream.ts';

export const CONTESTANT_NAMES = ['pierhead', 'docker-registry', 'nginx', 'node', 'direct'] as const;
export type ContestantName = (typeof CONTESTANT_NAMES)[number];

/** The same registry, by ways of different length. */
export type Place =
  /** On this machine, without delay. */
  | 'near'
  /** As far away as Docker Hub, and like that one it sends who asks for a blob on to another host. */
  | 'far'
  /** At the end of a line of 1 Gbit/s. */
  | 'gigabit'
  /** On this machine, by TLS. */
  | 'tls'
  /** Has large blobs besides, which it sends at up to 1 GB/s each. */
  | 'torrent'
  /** The same at 125 MB/s: what a line of 1 Gbit/s lets through. */
  | 'line';

/** What a measurement may use. */
export interface Bench {
  readonly content: Content;
  /** 49 MB in 20 layers, and 300 MB in as many. */
  readonly images: { readonly light: LayeredImage; readonly heavy: LayeredImage };
  /** What `torrent` and `line` have besides. */
  readonly torrent: readonly SparseBlob[];
  readonly upstream: UpstreamRegistry;
  /** How long a steady load lasts. */
  readonly seconds: number;
  readonly summaryScript: string;
  /** Of `openLoad` and `sleeplessLoad`; empty if no scenario needs it. */
  readonly openLoadClient: string;
  /** For what a scenario needs besides servers. */
  readonly folder: string;
}

/** One measurement of one contestant. */
export interface Sample extends Partial<UsedTime> {
  /** In the unit of the scenario. */
  readonly value: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** Bytes that upstream sent, as a multiple of the blob. */
  readonly upstreamShare?: number;
  /** What was asked for meanwhile, per second. */
  readonly askedPerSecond?: number;
  /** Of the fill that ran meanwhile. */
  readonly fillGbPerSecond?: number;
}

/** What is promised of one figure: of Pierhead's own, or of Pierhead's divided by a peer's. */
export interface Goal {
  readonly against?: ContestantName;
  /** Default `value`. */
  readonly figure?: 'value' | 'cpu' | 'mainCpu' | 'upstreamShare';
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly unit: 'requests/s' | 'GB/s' | 's' | 'ms' | 'MB';
  /** Processor time is told for each of these. */
  readonly cpuPer?: '10,000 requests' | 'GiB served' | 'pull';
  /** Hot: the cache was filled and the server stays. Cold: each measurement begins on an empty cache. */
  readonly state: 'hot' | 'cold';
  /** Default `near`. */
  readonly place?: Place;
  /** Who takes part; default every cache. */
  readonly contestants?: readonly ContestantName[];
  /** Of Pierhead, by flag without its dashes. */
  readonly pierheadSettings?: Readonly<Record<string, string>>;
  /** Programs that only this one needs. */
  readonly needs?: readonly Program[];
  readonly goals?: readonly Goal[];
  /** Brings the server to where the measurement begins; not measured. */
  prepare(server: ServerProcess, bench: Bench): Promise<void>;
  measure(server: ServerProcess, bench: Bench): Promise<Sample>;
}
