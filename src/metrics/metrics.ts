import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type {
  BadContent,
  ConnectionRefused,
  ContentRemoved,
  Events,
  FillEnded,
  Listener,
  RequestEnded,
  TagChecked,
  UpstreamRequest,
} from '../events/events.ts';
import { errorCode } from '../lib/errors.ts';
import { HistogramInRows, Tally } from './tally.ts';
import { UpstreamMetrics } from './upstream.ts';

const REDIS_STATES = ['up', 'waiting', 'down'] as const;
type RedisState = (typeof REDIS_STATES)[number];

/** What `readyz` names in `degraded` while it lasts. */
export interface Trouble {
  readonly reason: string;
  readonly isNow: boolean;
}

/** Values that each scrape reads from the stores and the mirror. */
export interface GaugeSources {
  readonly troubles: () => readonly Trouble[];
  readonly fills: () => number;
  readonly queuedFills: () => number;
  readonly blobs: () => { readonly blobs: number; readonly bytes: number };
  readonly manifests: () => { readonly manifests: number; readonly bytes: number };
  readonly room: () => {
    readonly usedBytes: number;
    readonly reservedBytes: number;
    readonly limitBytes: number;
  };
  /** Undefined: no image could be evicted. */
  readonly coldestAgeMs: () => number | undefined;
  readonly indexBytes: () => number;
  /** Undefined: no Redis is configured. */
  readonly redis: () => RedisState | undefined;
  /** Tags with a planned early check. */
  readonly watchedTags: () => number;
  /** Requests to upstreams that wait for another server of the fleet. */
  readonly fleetWaiting: () => number;
}

export interface ListedMetric {
  readonly name: string;
  /** `counter`, `gauge`, … */
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** Metrics in the text format 0.0.4 of Prometheus, with those of Node: event-loop lag, memory, collections. */
export class Metrics implements Listener {
  readonly #registry = new Registry();
  readonly upstreams = new UpstreamMetrics(this.#registry);
  readonly #requests = this.#tally('requests_total', 'Number of client requests', [
    'kind',
    'status',
    'cache',
  ]);
  readonly #refusedConnections = this.#counter(
    'refused_connections_total',
    'Number of client connections that were refused or sent no request',
    ['reason'],
  );
  #certificateExpiry: Gauge | undefined;
  readonly #clientBytes = this.#tally('response_body_bytes_total', 'Number of body bytes sent to clients', [
    'kind',
  ]);
  readonly #upstreamBytes = this.#counter(
    'upstream_body_bytes_total',
    'Number of body bytes received from upstreams',
    ['upstream'],
  );
  readonly #upstreamRequests = this.#counter('upstream_requests_total', 'Number of requests to upstreams', [
    'upstream',
    'kind',
    'method',
    'outcome',
  ]);
  readonly #fills = this.#counter('fills_total', 'Number of blob downloads that ended', ['result']);
  readonly #resumedBytes = this.#counter(
    'fill_resumed_bytes_total',
    'Number of bytes that downloads took over from earlier, broken downloads',
    [],
  );
  readonly #segments = this.#counter(
    'fill_segments_total',
    'Number of segments of downloads: one per download, and one per reader far ahead',
    [],
  );
  readonly #pulls = this.#tally('pulls_total', 'Number of image manifests that clients got', [
    'image',
    'platform',
  ]);
  readonly #readAhead = this.#counter(
    'read_ahead_total',
    'Number of manifests and blobs that were prefetched',
    ['kind'],
  );
  readonly #blobFaults = this.#counter(
    'blob_faults_total',
    'Number of cached blobs that were found damaged',
    ['problem', 'found_by', 'outcome'],
  );
  readonly #scrubbedBytes = this.#counter(
    'scrubbed_bytes_total',
    'Number of bytes hashed again while no client pulled',
    [],
  );
  readonly #redisErrors = this.#counter('redis_errors_total', 'Number of Redis calls that failed', ['kind']);
  readonly #removedManifests = this.#counter(
    'evicted_manifests_total',
    'Number of manifests evicted or removed',
    ['reason'],
  );
  readonly #removedBlobs = this.#counter('evicted_blobs_total', 'Number of blobs evicted or removed', [
    'reason',
  ]);
  readonly #removedBytes = this.#counter(
    'evicted_bytes_total',
    'Number of bytes of blobs evicted or removed',
    ['reason'],
  );
  readonly #indexErrors = this.#counter('index_errors_total', 'Number of index calls that failed', ['kind']);
  readonly #tagChecks = this.#counter('tag_checks_total', 'Number of tag checks', ['trigger', 'result']);
  readonly #skippedChecks = this.#counter(
    'tag_checks_skipped_total',
    'Number of background tag checks that were due and skipped',
    ['reason'],
  );
  readonly #fleetWork = this.#counter(
    'fleet_work_total',
    'Number of manifest requests that a fleet sends once, by what this server did',
    ['end'],
  );
  readonly #durations = new HistogramInRows(
    {
      name: 'pierhead_request_duration_seconds',
      help: 'Seconds from a request to the end of its answer',
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
      registers: [this.#registry],
    },
    'kind',
  );

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Reads these sources at each scrape from now on. To be called once. */
  read(sources: GaugeSources): void {
    const degraded: Gauge<'reason'> = new Gauge({
      name: 'pierhead_degraded',
      help: '1 if readyz names this reason: redis, disk, disk full, index or the host of an upstream',
      labelNames: ['reason'],
      registers: [this.#registry],
      collect: () => {
        for (const { reason, isNow } of sources.troubles()) degraded.set({ reason }, isNow ? 1 : 0);
      },
    });
    this.#gauge('fills_running', 'Number of running downloads', sources.fills);
    this.#gauge('fills_queued', 'Number of downloads that wait for their turn', sources.queuedFills);
    this.#gauge('store_blobs', 'Number of blobs on disk', () => sources.blobs().blobs);
    this.#gauge('store_blob_bytes', 'Number of bytes of blobs on disk', () => sources.blobs().bytes);
    this.#gauge('store_manifests', 'Number of manifests in the index', () => sources.manifests().manifests);
    this.#gauge(
      'store_manifest_bytes',
      'Number of bytes of manifests in the index',
      () => sources.manifests().bytes,
    );
    this.#gauge(
      'room_used_bytes',
      'Number of bytes that count towards cacheSize',
      () => sources.room().usedBytes,
    );
    this.#gauge(
      'room_reserved_bytes',
      'Number of those bytes that are reserved for running or broken downloads',
      () => sources.room().reservedBytes,
    );
    this.#gauge('room_limit_bytes', 'Number of bytes that cacheSize allows', () => sources.room().limitBytes);
    this.#gauge('index_bytes', 'Number of bytes of the index file', sources.indexBytes);
    this.#gauge(
      'coldest_image_age_seconds',
      'Seconds since the last pull of the image that would be evicted first',
      () => (sources.coldestAgeMs() ?? 0) / 1000,
    );
    if (sources.redis() !== undefined) {
      this.#gauge('redis_up', '1 if Redis answers', () => (sources.redis() === 'up' ? 1 : 0));
      const states: Gauge<'state'> = new Gauge({
        name: 'pierhead_redis_state',
        help: '1 if Redis is in this state: up, waiting (connected but too slow) or down',
        labelNames: ['state'],
        registers: [this.#registry],
        collect: () => {
          for (const state of REDIS_STATES) states.set({ state }, sources.redis() === state ? 1 : 0);
        },
      });
    }
    this.#gauge(
      'fleet_waiting',
      'Number of requests to upstreams that wait for another server',
      sources.fleetWaiting,
    );
    this.#gauge(
      'tags_watched',
      'Number of tags that will be checked before a client asks',
      sources.watchedTags,
    );
  }

  request({ kind, status, cache, bytes, durationMs }: RequestEnded): void {
    this.#requests.add(1, kind, status, cache);
    if (bytes > 0) this.#clientBytes.add(bytes, kind);
    this.#durations.observe(kind, durationMs / 1000);
  }

  connectionRefused({ why: reason }: ConnectionRefused): void {
    this.#refusedConnections.inc({ reason });
  }

  certificate({ notAfter }: Events['certificate']): void {
    this.#certificateExpiry ??= new Gauge({
      name: 'pierhead_tls_certificate_expiry_timestamp_seconds',
      help: 'Unix time in seconds at which the certificate for clients expires',
      registers: [this.#registry],
    });
    this.#certificateExpiry.set(notAfter.getTime() / 1000);
  }

  unreadable({ status }: Events['unreadable']): void {
    this.#requests.add(1, 'other', status, 'local');
  }

  upstreamRequest({ upstream, kind, method, outcome }: UpstreamRequest): void {
    this.#upstreamRequests.inc({ upstream, kind, method, outcome });
  }

  upstreamBytes({ upstream, bytes }: Events['upstreamBytes']): void {
    this.#upstreamBytes.inc({ upstream }, bytes);
  }

  fill({ result, resumedBytes, segments }: FillEnded): void {
    this.#fills.inc({ result });
    this.#resumedBytes.inc(resumedBytes);
    this.#segments.inc(segments);
  }

  pull({ image, platform }: Events['pull']): void {
    this.#pulls.add(1, image, platform);
  }

  prefetched({ kind }: Events['prefetched']): void {
    this.#readAhead.inc({ kind });
  }

  blobLost({ problem }: Events['blobLost']): void {
    const outcome = problem === 'unreadable' ? 'found' : 'removed';
    this.#blobFaults.inc({ problem, found_by: 'request', outcome });
  }

  badContent({ content, problem, foundBy, outcome }: BadContent): void {
    if (content === 'blob') this.#blobFaults.inc({ problem, found_by: foundBy, outcome });
  }

  scrubbed({ bytes }: Events['scrubbed']): void {
    this.#scrubbedBytes.inc(bytes);
  }

  removed({ reason, manifests, blobs, bytes }: ContentRemoved): void {
    this.#removedManifests.inc({ reason }, manifests.length);
    this.#removedBlobs.inc({ reason }, blobs);
    this.#removedBytes.inc({ reason }, bytes);
  }

  indexFailed({ error }: Events['indexFailed']): void {
    this.#indexErrors.inc({ kind: errorCode(error) ?? 'other' });
  }

  tagChecked({ result, trigger }: TagChecked): void {
    this.#tagChecks.inc({ result, trigger });
  }

  tagCheckSkipped({ reason }: Events['tagCheckSkipped']): void {
    this.#skippedChecks.inc({ reason });
  }

  fleetWork({ end }: Events['fleetWork']): void {
    this.#fleetWork.inc({ end });
  }

  redisFailed({ kind }: Events['redisFailed']): void {
    this.#redisErrors.inc({ kind });
  }

  async render(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  /** All metrics that are registered now, for the documentation. */
  async list(): Promise<readonly ListedMetric[]> {
    const found = await this.#registry.getMetricsAsJSON();
    return found.map(({ name, help, type }) => {
      const metric: object = this.#registry.getSingleMetric(name) ?? {};
      const labels = 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames : [];
      return { name, help, type: String(type), labels: labels.map(String) };
    });
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name: `pierhead_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #tally<L extends string>(name: string, help: string, labelNames: readonly L[]): Tally<L> {
    return new Tally({ name: `pierhead_${name}`, help, registers: [this.#registry] }, labelNames);
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({
      name: `pierhead_${name}`,
      help,
      registers: [this.#registry],
      collect: () => gauge.set(read()),
    });
  }
}
