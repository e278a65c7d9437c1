import type { Digest } from '../../src/oci/digest.ts';
import type { Answer } from './answer.ts';
import { BlobHost } from './blob-host.ts';
import type { Content } from './content.ts';
import { FaultBook, type Fault, type FaultRule } from './faults.ts';
import { Gate } from './gate.ts';
import type { AuthScheme } from './gatekeeper.ts';
import { Library, type ImageContent, type StoredManifest } from './library.ts';
import { RequestLog, type LoggedRequest, type RequestFilter, type Violation } from './log.ts';
import { PullBudget, type PullLimit } from './pull-limit.ts';
import { Registry } from './registry.ts';
import { SiteServer } from './site.ts';
import type { Stop } from './send.ts';
import { TokenService } from './token-service.ts';
import { TokenBook, type Users } from './tokens.ts';
import type { RegistryWays } from './ways.ts';
import { noteSecrets, secretsOf } from '../support/secrets.ts';

export interface FakeHubOptions {
  /** Default `bearer`, as Docker Hub. */
  readonly auth?: AuthScheme;
  /** User names and passwords. Default: none, so any credentials are wrong. */
  readonly users?: Users;
  /** Default 300. */
  readonly tokenLifetimeSeconds?: number;
  /** Of a redirect to the blob host; default 1200. */
  readonly urlLifetimeSeconds?: number;
  /** False: the registry sends blobs itself. Default true. */
  readonly redirectBlobs?: boolean;
  /**
   * The name that redirects call the blob host by. Default `localhost`: Go clients compare host names without the
   * port, so under 127.0.0.1 they would rightly carry `Authorization` over.
   */
  readonly blobHostName?: 'localhost' | '127.0.0.1';
  /** Default 5000 pulls in 6 hours; `unlimited` sends no rate headers. */
  readonly pulls?: PullLimit | 'unlimited';
  /** The clock of tokens, signed URLs and the log. Default the real one. */
  readonly nowMs?: () => number;
  /** How it differs from Docker Hub. */
  readonly ways?: RegistryWays;
}

/** What to put into a repository. */
export interface Addition {
  readonly repository: string;
  /** Tags that name the root; none leaves it to be had by digest only. */
  readonly tags?: readonly string[];
  readonly image: ImageContent;
  /** The users who may pull; without it, anybody. */
  readonly readers?: readonly string[];
}

const DEFAULT_PULLS: PullLimit = { limit: 5000, remaining: 5000, windowSeconds: 21_600 };

/**
 * A stand-in for Docker Hub on three ports of 127.0.0.1: registry, token service, blob host. It does what Docker
 * Hub does, keeps a log of every request, notes what no client ought to do, and misbehaves when told to.
 */
export class FakeHub {
  readonly #library = new Library();
  readonly #log = new RequestLog();
  readonly #faults = new FaultBook();
  readonly #holds = new Set<{ readonly digest: string; readonly stop: Stop }>();
  readonly #tokens: TokenBook;
  readonly #users: Record<string, string>;
  readonly #identityTokens: Record<string, string> = {};
  readonly #budget: PullBudget;
  readonly #blobHost: BlobHost;
  readonly #servers: {
    readonly registry: SiteServer;
    readonly token: SiteServer;
    readonly blobs: SiteServer;
  };

  constructor(options: FakeHubOptions) {
    const { auth = 'bearer', nowMs = Date.now, pulls = DEFAULT_PULLS } = options;
    const { redirectBlobs = true, blobHostName = 'localhost', ways = {} } = options;
    const users = { ...options.users };
    this.#users = users;
    const library = this.#library;
    const log = this.#log;
    this.#tokens = new TokenBook({ nowMs, lifetimeSeconds: options.tokenLifetimeSeconds ?? 300 });
    this.#budget = new PullBudget(pulls === 'unlimited' ? undefined : pulls);
    this.#blobHost = new BlobHost({
      library,
      log,
      nowMs,
      urlLifetimeSeconds: options.urlLifetimeSeconds ?? 1200,
    });
    const registry = new Registry({
      scheme: auth,
      library,
      log,
      users,
      tokens: this.#tokens,
      budget: this.#budget,
      realm: () => `${this.tokenUrl}/token`,
      ways,
      blobUrl: (digest) =>
        redirectBlobs
          ? `http://${blobHostName}:${this.#servers.blobs.port}${this.#blobHost.signedTarget(digest)}`
          : undefined,
    });
    const identityTokens = this.#identityTokens;
    const tokenService = new TokenService({ library, users, identityTokens, tokens: this.#tokens, ways });
    const common = {
      log,
      nowMs,
      faults: this.#faults,
      stopsFor: (request: LoggedRequest, answer: Answer) => this.#stopsFor(request, answer),
    };
    this.#servers = {
      registry: new SiteServer(registry, common),
      token: new SiteServer(tokenService, common),
      blobs: new SiteServer(this.#blobHost, common),
    };
  }

  /** Base URL of the registry, without `/v2/`. */
  get url(): string {
    return `http://${this.host}`;
  }

  /** Of the registry: `127.0.0.1:<port>`. */
  get host(): string {
    return `127.0.0.1:${this.#servers.registry.port}`;
  }

  get tokenUrl(): string {
    return `http://127.0.0.1:${this.#servers.token.port}`;
  }

  get blobsUrl(): string {
    return `http://127.0.0.1:${this.#servers.blobs.port}`;
  }

  /** Opens the ports: free ones the first time, later the same again. */
  async start(): Promise<void> {
    for (const server of Object.values(this.#servers)) await server.start();
  }

  /** Closes ports and connections; connecting is refused until the next `start`. */
  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#servers).map((server) => server.stop()));
  }

  /** The last use: lets go whatever is held, and stops. */
  async close(): Promise<void> {
    this.#faults.clear();
    for (const { stop } of this.#holds) stop.gate.release();
    await this.stop();
    noteSecrets(secretsOf(this.requests));
  }

  add(addition: Addition): void {
    const { image, tags = [] } = addition;
    const repository = this.#library.open(addition.repository);
    for (const manifest of image.manifests) repository.manifests.set(manifest.digest, manifest);
    for (const blob of image.blobs) repository.blobs.set(blob.digest, blob);
    for (const tag of tags) repository.tags.set(tag, image.root.digest);
    if (addition.readers !== undefined) repository.readers = addition.readers;
  }

  addBlob(repository: string, blob: Content): void {
    this.#library.open(repository).blobs.set(blob.digest, blob);
  }

  addManifest(repository: string, manifest: StoredManifest, tags: readonly string[] = []): void {
    this.add({ repository, tags, image: { root: manifest, manifests: [manifest], blobs: [] } });
  }

  /** Other users and passwords from now on. */
  setUsers(users: Users): void {
    replace(this.#users, users);
  }

  /** The users of identity tokens, which the token service gives others for. */
  setIdentityTokens(users: Users): void {
    replace(this.#identityTokens, users);
  }

  /** Lets only these users pull; undefined makes the repository public. */
  setReaders(repository: string, readers: readonly string[] | undefined): void {
    this.#library.open(repository).readers = readers;
  }

  /** Serves the referrers API for the repository; other manifests of it then have none. */
  setReferrers(repository: string, digest: Digest, descriptors: readonly object[]): void {
    const opened = this.#library.open(repository);
    opened.referrers = new Map(opened.referrers).set(digest, descriptors);
  }

  /** Lets `tag` name a manifest that the repository holds. */
  moveTag(repository: string, tag: string, digest: Digest): void {
    this.#library.open(repository).tags.set(tag, digest);
  }

  removeTag(repository: string, tag: string): void {
    this.#library.open(repository).tags.delete(tag);
  }

  /** Removes a manifest or a blob, as deleting an image does; tags that named it give 404. */
  removeContent(repository: string, digest: Digest): void {
    this.#library.open(repository).manifests.delete(digest);
    this.#library.open(repository).blobs.delete(digest);
  }

  removeRepository(repository: string): void {
    this.#library.remove(repository);
  }

  /** Sets the pull limit and what is left of it. */
  setPulls(pulls: PullLimit | 'unlimited'): void {
    this.#budget.state = pulls === 'unlimited' ? undefined : pulls;
  }

  /** What is left of the pull limit; undefined without a limit. */
  get pullsRemaining(): number | undefined {
    return this.#budget.state?.remaining;
  }

  /** Tokens issued so far are no longer accepted; `lifetimeSeconds` is that of later ones. */
  expireTokens(options: { readonly lifetimeSeconds?: number } = {}): void {
    this.#tokens.expireAll();
    if (options.lifetimeSeconds !== undefined) this.#tokens.lifetimeSeconds = options.lifetimeSeconds;
  }

  /** Redirects issued from now on expire after so many seconds; 0 lets them expire at once. */
  setUrlLifetime(seconds: number): void {
    this.#blobHost.urlLifetimeSeconds = seconds;
  }

  fault(rule: FaultRule): Fault {
    return this.#faults.add(rule);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Every body of this blob stops before the byte at `atBytes` until the gate is released. */
  holdBlob(digest: Digest, atBytes: number): Gate {
    const gate = new Gate(`byte ${atBytes} of ${digest}`);
    this.#holds.add({ digest, stop: { at: atBytes, gate } });
    return gate;
  }

  /** Every request so far, in order of arrival. */
  get requests(): readonly LoggedRequest[] {
    return this.#log.requests;
  }

  get violations(): readonly Violation[] {
    return this.#log.violations;
  }

  /** How many requests match. A blob by redirect is two of kind `blob`: one at the registry, one at `blobs`. */
  count(filter: RequestFilter = {}): number {
    return this.#log.count(filter);
  }

  /** Body bytes of this blob handed to the kernel since the last `reset`. */
  bytesSent(digest: Digest): number {
    const bodies = this.requests.filter(
      ({ kind, reference, status }) => kind === 'blob' && reference === digest && isContent(status),
    );
    return bodies.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  }

  /** The first request, past or to come, that `predicate` holds for; asked again when an answer begins and ends. */
  waitFor(predicate: (request: LoggedRequest) => boolean, label: string): Promise<LoggedRequest> {
    return this.#log.waitFor(predicate, label);
  }

  /** Forgets requests and violations; content, tokens, faults and limits stay. */
  reset(): void {
    noteSecrets(secretsOf(this.requests));
    this.#log.clear();
  }

  #stopsFor(request: LoggedRequest, answer: Answer): Stop[] {
    if (request.kind !== 'blob' || !isContent(answer.status)) return [];
    return [...this.#holds].filter(({ digest }) => digest === request.reference).map(({ stop }) => stop);
  }
}

function replace(record: Record<string, string>, by: Readonly<Record<string, string>>): void {
  for (const key of Object.keys(record)) delete record[key];
  Object.assign(record, by);
}

function isContent(status: number | undefined): boolean {
  return status === 200 || status === 206;
}

/** A stand-in that listens; `close()` it. */
export async function startFakeHub(options: FakeHubOptions = {}): Promise<FakeHub> {
  const hub = new FakeHub(options);
  await hub.start();
  return hub;
}
