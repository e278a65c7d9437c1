import type { Settings } from '../config/settings.ts';
import type { Logger } from '../log/log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { parsePlatform } from '../oci/platform.ts';
import type { PullServiceOptions } from '../pull/pull-service.ts';
import { PullStatistics } from '../pull/pull-statistics.ts';
import { PullRecorder } from '../pull/pull-recorder.ts';
import { ReadAhead, type ReadAheadOptions } from '../pull/read-ahead.ts';
import type { PullHistory } from '../store/pull-history.ts';
import { clientNetworks } from './known-clients.ts';

export interface FollowUpParts extends Pick<
  ReadAheadOptions,
  'store' | 'links' | 'fetcher' | 'negative' | 'members' | 'clients' | 'blobs'
> {
  readonly settings: Settings;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly history: PullHistory;
}

/** What happens besides a client getting what it asked for: what it will ask for next is fetched, and pulls are counted. */
export interface FollowUps {
  readonly manifestServed: PullServiceOptions['onManifest'];
  readonly blobAsked: PullServiceOptions['onBlob'];
  /** Begins nothing new, and waits a little for what runs. */
  close(): Promise<void>;
}

export function createFollowUps({ settings, log, metrics, history, ...parts }: FollowUpParts): FollowUps {
  const statistics = new PullStatistics({ ...parts, onPull: (pull) => metrics.pulled(pull) });
  const recorder = new PullRecorder({ ...parts, history, networkOf: clientNetworks(settings) });
  const readAhead = new ReadAhead({
    ...parts,
    mode: settings.readAhead,
    platforms: settings.platforms.flatMap((text) => parsePlatform(text) ?? []),
    mayPrefetch: (upstream, repository) => upstream.mayPrefetch(repository),
    onFetched: (kind) => metrics.readAhead(kind),
    onError: (error) => log.error({ err: error }, 'read-ahead'),
  });
  return {
    manifestServed: (served) => {
      statistics.manifestServed(served);
      recorder.manifestServed(served);
      readAhead.manifestServed(served);
    },
    blobAsked: (asked) => readAhead.blobAsked(asked),
    close: () => readAhead.close(),
  };
}
