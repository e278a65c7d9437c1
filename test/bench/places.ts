import { join } from 'node:path';
import { startFarUpstream } from './far-upstream.ts';
import { startTlsUpstream, startTorrent } from './nginx-upstream.ts';
import { Lane, startPacedLink } from './paced-link.ts';
import type { Place } from './scenarios/scenario.ts';
import type { SparseBlob } from './sparse-blobs.ts';

export const FAR = { roundTripMs: 80, bytesPerSecond: 25_000_000 } as const;
export const GIGABIT = { roundTripMs: 10, bytesPerSecond: 125_000_000 } as const;
const TORRENT_BYTES_PER_SECOND = 1_000_000_000;
/** nginx sends so much at once: 2 ms of the line. */
const LINE_PIECE_BYTES = 250_000;

/** The ways to upstream that are there. */
export interface Places {
  readonly ways: ReadonlyMap<Place, Way>;
  stop(): Promise<void>;
}

export interface PlacesOptions {
  /** Which are wanted. */
  readonly names: readonly Place[];
  readonly registryUrl: string;
  readonly folder: string;
  readonly torrent: readonly SparseBlob[];
}

export interface Way {
  readonly url: string;
  /** In PEM form, of who vouches for it. */
  readonly caFile?: string;
  stop(): Promise<void>;
}

export async function startPlaces({ names, registryUrl, folder, torrent }: PlacesOptions): Promise<Places> {
  const start: Record<Place, () => Promise<Way>> = {
    near: () => Promise.resolve({ url: registryUrl, stop: () => Promise.resolve() }),
    far: () => startFarUpstream({ registryUrl, folder: join(folder, 'far'), ...FAR }),
    gigabit: () =>
      startPacedLink({
        targetUrl: registryUrl,
        roundTripMs: GIGABIT.roundTripMs,
        lane: new Lane(GIGABIT.bytesPerSecond),
      }),
    torrent: () =>
      startTorrent({
        registryUrl,
        folder: join(folder, 'torrent'),
        blobs: torrent,
        bytesPerSecond: TORRENT_BYTES_PER_SECOND,
      }),
    line: () =>
      startTorrent({
        registryUrl,
        folder: join(folder, 'line'),
        blobs: torrent,
        bytesPerSecond: GIGABIT.bytesPerSecond,
        pieceBytes: LINE_PIECE_BYTES,
      }),
    tls: () => startTlsUpstream({ registryUrl, folder: join(folder, 'tls') }),
  };
  const ways = new Map<Place, Way>();
  const stop = async (): Promise<void> => {
    await Promise.all([...ways.values()].map((way) => way.stop()));
  };
  try {
    for (const name of new Set(names)) ways.set(name, await start[name]());
  } catch (error) {
    await stop();
    throw error;
  }
  return { ways, stop };
}
