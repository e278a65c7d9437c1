import { Hono } from 'hono';
import { RegExpRouter } from 'hono/router/reg-exp-router';
import { after } from '../../lib/promises.ts';
import type { Mirror } from '../../mirror/mirror.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import { parseReference, repositoryKey, type Repository } from '../../oci/reference.ts';
import { ALIVE, readiness, type Health } from '../server/health.ts';
import { sendBlob, sendBlobHead } from './blob.ts';
import { RequestError } from './errors.ts';
import { isHead, isRead, sendBytes, type Exchange } from './exchange.ts';
import { cacheStatusHeader } from './headers.ts';
import { catalogLimit, pageQuery, sendCatalog, sendTags, sendReferrers } from './lists.ts';
import { sendManifest } from './manifest.ts';
import {
  queryAt,
  type Admitted,
  type Answer,
  type Asked,
  type PlatformRules,
  type Reader,
  type RegistryEnv,
  type Route,
} from './route.ts';

/** A path that no route matches. */
const NOWHERE = '/';

/**
 * A repository may contain route words (`a/manifests/b`). The last one counts, since only one segment may follow it.
 * Lazy, so that the catalog, which is no repository, is tried last.
 */
const NAME = ':name{[^]+?}';

export interface RoutesOptions {
  readonly mirror: Mirror;
  readonly health: () => Health;
}

/** The routes of the registry API (OCI distribution-spec, "Endpoints", pull and discovery), and of health checks. */
export function createRoutes({ mirror, health }: RoutesOptions, route: Route): Hono<RegistryEnv> {
  const app = new Hono<RegistryEnv>({
    getPath: (_request, options) => routePath(options?.env?.incoming.url ?? NOWHERE),
    // Where it fails, Hono would choose TrieRouter, which matches `/manifests-2` as `/manifests`.
    router: new RegExpRouter(),
  });
  const inRepository = (read: ReaderInRepository): Reader => {
    return (asked) => answerIn(findRepository(mirror, asked), (found) => read(mirror, found));
  };
  app.get(
    '/healthz',
    route('health', () => answerAlive),
  );
  app.get(
    '/readyz',
    route('health', () => ({ exchange }) => {
      const { status, body } = readiness(health());
      sendHealth(exchange, status, body);
    }),
  );
  app.on(
    'GET',
    ['/v2', '/v2/'],
    route('ping', () => answerPing),
  );
  app.get(`/v2/${NAME}/manifests/:reference`, route('manifest', inRepository(readManifest)));
  app.get(`/v2/${NAME}/blobs/:digest`, route('blob', inRepository(readBlob)));
  app.get(`/v2/${NAME}/tags/list`, route('tags', inRepository(readTags)));
  app.get(`/v2/${NAME}/referrers/:digest`, route('referrers', inRepository(readReferrers)));
  // RegExpRouter allows no fixed word where another route has a parameter.
  app.get(
    `/v2/${NAME}`,
    route('catalog', (asked) =>
      asked.params.name === '_catalog' ? readCatalog(mirror, asked) : answerOther,
    ),
  );
  app.notFound(route('other', () => answerOther));
  return app;
}

/**
 * The path of a request target for the routes. Some clients encode the colon of a digest (`sha256%3A…`), so each
 * segment is decoded once. The path is not normalised: dot segments stay, and an encoded slash matches no route. So no
 * spelling reaches a name that the grammar forbids. Hono decodes parameters again, so a `%` that is left is encoded for
 * it.
 */
function routePath(target: string): string {
  // Health checks match by the full target, query included.
  if (!target.startsWith('/v2')) return target;
  const path = target.slice(0, queryAt(target));
  if (!path.includes('%')) return path;
  if (!path.startsWith('/v2/')) return NOWHERE;
  try {
    const segments = path.split('/').map(decodeURIComponent);
    if (segments.some((segment) => segment.includes('/'))) return NOWHERE;
    return segments.join('/').replaceAll('%', '%25');
  } catch {
    return NOWHERE;
  }
}

function answerAlive({ exchange }: Admitted): void {
  sendHealth(exchange, 200, ALIVE);
}

function sendHealth(exchange: Exchange, status: number, body: object): void {
  sendBytes(exchange, status, {
    headers: { 'Content-Type': 'application/json', 'Cache-Status': cacheStatusHeader('local') },
    body: Buffer.from(`${JSON.stringify(body)}\n`),
  });
}

function answerPing({ exchange }: Admitted): void {
  sendBytes(exchange, 200, {
    headers: {
      'Content-Type': 'application/json',
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader('local'),
    },
    body: Buffer.from('{}'),
  });
}

function answerOther({ exchange }: Admitted): never {
  exchange.kind = 'other';
  if (isRead(exchange.request))
    throw new RequestError(404, 'NAME_UNKNOWN', 'no such resource in the registry API');
  throw new RequestError(405, 'UNSUPPORTED', 'this is a read-only mirror: push to the registry itself');
}

function readCatalog(mirror: Mirror, { query }: Asked): Answer {
  const page = pageQuery(query);
  const limit = catalogLimit(page);
  return async ({ exchange, mayPull }) => {
    const names = await mirror.repositories({ after: page.last, limit: limit + 1, mayPull });
    sendCatalog(exchange, names, limit);
  };
}

interface InRepository extends Asked {
  readonly repository: Repository;
  readonly key: string;
  readonly namespace: string | undefined;
}

type ReaderInRepository = (mirror: Mirror, found: InRepository) => Answer;

/** Throws RequestError if the repository's name is malformed. */
function findRepository(mirror: Mirror, { params, query }: Asked): InRepository {
  const namespace = query.get('ns') ?? undefined;
  const repository = mirror.locate(params.name ?? '', namespace);
  if (repository === undefined)
    throw new RequestError(404, 'NAME_INVALID', 'the repository name is malformed');
  return { params, query, repository, key: repositoryKey(repository), namespace };
}

/** The answer throws RequestError if the account may not pull the repository. What else is asked for is read then. */
function answerIn(found: InRepository, read: (found: InRepository) => Answer): Answer {
  const { key, namespace } = found;
  let answer: Answer | undefined;
  return (admitted) => {
    const { exchange, mayPull } = admitted;
    exchange.repository = key;
    if (mayPull?.(key) === false) {
      throw new RequestError(403, 'DENIED', `this account may not pull from ${key}`);
    }
    exchange.namespace = namespace;
    answer ??= read(found);
    return answer(admitted);
  };
}

function readManifest(mirror: Mirror, { params, query, repository }: InRepository): Answer {
  const text = params.reference ?? '';
  const reference = parseReference(text);
  if (reference === undefined) {
    if (text.includes(':')) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
    throw new RequestError(404, 'MANIFEST_UNKNOWN', 'the tag is malformed');
  }
  const platform = platformQuery(query);
  return ({ exchange, platforms }) => {
    exchange.reference = text;
    if (platform instanceof RequestError) throw platform;
    // Errors depend on the client, too: another platform may have a manifest.
    if (reference.kind === 'tag') exchange.vary = varyOf(platforms);
    const { accept, 'user-agent': userAgent } = exchange.request.headers;
    const answer = mirror.manifest({
      repository,
      reference,
      client: { address: exchange.client, accept, userAgent, platform, rule: platforms.rule },
      headOnly: isHead(exchange),
    });
    return after(answer, (found) => sendManifest(exchange, found));
  };
}

/** `*` stands for more than request headers, such as the client's address (RFC 9110 section 12.5.5). */
function varyOf({ varies }: PlatformRules): string {
  return varies === 'by-network' ? '*' : 'Accept, User-Agent';
}

function readBlob(mirror: Mirror, found: InRepository): Answer {
  const { repository } = found;
  const digest = requireDigest(found);
  return async ({ exchange }) => {
    exchange.reference = digest;
    if (isHead(exchange)) {
      sendBlobHead(exchange, digest, await mirror.headBlob(repository, digest));
      return;
    }
    const body = await mirror.openBlob(repository, digest, exchange.client);
    if (exchange.response.destroyed) {
      body.close();
      return;
    }
    await sendBlob(exchange, digest, body);
  };
}

function readTags(mirror: Mirror, { params, query, repository }: InRepository): Answer {
  const page = pageQuery(query);
  const name = params.name ?? '';
  return async ({ exchange }) => sendTags(exchange, name, await mirror.tags(repository, page));
}

function readReferrers(mirror: Mirror, found: InRepository): Answer {
  const { query, repository } = found;
  const artifactTypes = query.getAll('artifactType');
  const digest = requireDigest(found);
  return async ({ exchange }) => {
    exchange.reference = digest;
    sendReferrers(exchange, await mirror.referrers(repository, digest), artifactTypes);
  };
}

/** Throws RequestError. */
function requireDigest({ params }: InRepository): Digest {
  const digest = parseDigest(params.digest ?? '');
  if (digest === undefined) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
  return digest;
}

function platformQuery(query: URLSearchParams): Platform | RequestError | undefined {
  const text = query.get('platform');
  if (text === null) return undefined;
  // Clients do not encode the plus of `windows(10.0.20348+win32k)/amd64`, which a query decodes to a space.
  return (
    parsePlatform(text.replaceAll(' ', '+')) ??
    new RequestError(400, 'UNSUPPORTED', `platform is "${text}"; allowed: ${PLATFORM_FORM}`)
  );
}
