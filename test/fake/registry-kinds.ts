import type { FaultRule } from './faults.ts';
import type { FakeHub, FakeHubOptions } from './hub.ts';
import { bearerChallenge, type RegistryWays } from './ways.ts';

/** A kind of registry and how to stand in for it. docs/guides/registries.md names where each of its ways was seen. */
export interface RegistryKind {
  /** As on that page. */
  readonly name: string;
  readonly auth: NonNullable<FakeHubOptions['auth']>;
  readonly ways: RegistryWays;
  /** Nobody pulls without credentials. */
  readonly needsLogin?: true;
  /** The registry sends blobs itself. */
  readonly sendsBlobs?: true;
  readonly referrers: 'listed' | 'unknown';
  readonly faults?: (hub: FakeHub) => readonly FaultRule[];
  /** What it says to those who ask too much; absent: not known, or as Docker Hub's pull limit. */
  readonly limit?: {
    readonly code: number;
    readonly body: string;
    readonly headers?: Record<string, string>;
  };
  readonly hasPullLimit?: true;
}

const HEADS = { kind: 'manifest', method: 'HEAD', host: 'registry' } as const;
const REFERRERS = { kind: 'referrers', host: 'registry' } as const;
const JSON_TYPE = { 'content-type': 'application/json' };
const HTML = { 'content-type': 'text/html; charset=utf-8' };
const PAGE = '<!DOCTYPE html><html><body>no such page</body></html>';

function tooMany(message: string): NonNullable<RegistryKind['limit']> {
  return {
    code: 429,
    body: JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message }] }),
    headers: JSON_TYPE,
  };
}

/** The name of a page that nobody but the registry can read. */
function sealed(last: string): string {
  return Buffer.from(`after ${last}`).toString('base64');
}

function afterSealed(name: string) {
  return (query: URLSearchParams, tags: readonly string[]): number => {
    const token = query.get(name);
    return token === null ? 0 : tags.findIndex((tag) => sealed(tag) === token) + 1;
  };
}

export const REGISTRY_KINDS: readonly RegistryKind[] = [
  { name: 'Docker Hub', auth: 'bearer', ways: {}, referrers: 'listed', hasPullLimit: true },
  {
    name: 'GitHub (ghcr.io)',
    auth: 'bearer',
    ways: {
      challenge: (realm, { repository }) => bearerChallenge(realm, 'ghcr.io', repository),
    },
    referrers: 'unknown',
    // A page of the web site, which has limits of its own.
    faults: (hub) => [
      { match: { kind: 'other', host: 'token' }, do: { status: { code: 429, body: PAGE, headers: HTML } } },
      {
        match: REFERRERS,
        do: {
          status: { code: 303, headers: { location: `${hub.tokenUrl}/-/v2/packages/referrers%2Fsha256` } },
        },
      },
    ],
    limit: tooMany('retry-after: 1.16676ms, allowed: 44000/minute'),
  },
  {
    name: 'Quay (quay.io)',
    auth: 'bearer',
    ways: {
      challenge: (realm, { repository }) => bearerChallenge(realm, 'quay.io', repository),
      tags: {
        max: 100,
        offset: afterSealed('next_page'),
        link: ({ origin, path, size, last }) =>
          `<${origin}${path}?n=${size}&next_page=${encodeURIComponent(sealed(last))}>; rel="next"`,
      },
    },
    referrers: 'listed',
  },
  {
    name: 'Amazon ECR',
    auth: 'basic',
    needsLogin: true,
    ways: {
      challenge: (_realm, { headers }) => `Basic realm="http://${headers.host}/",service="ecr.amazonaws.com"`,
      tags: {
        max: 1000,
        tooMany: {
          status: 405,
          code: 'UNSUPPORTED',
          message:
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'",
        },
      },
    },
    referrers: 'listed',
    limit: tooMany('Rate exceeded'),
  },
  {
    name: 'Amazon ECR Public',
    auth: 'bearer',
    ways: {
      challenge: (realm) => `Bearer realm="${realm}",service="public.ecr.aws"`,
      tokenFields: ['token'],
    },
    referrers: 'unknown',
    limit: tooMany('Rate exceeded'),
  },
  {
    name: 'Google Artifact Registry',
    auth: 'bearer',
    ways: {
      challenge: (realm, { repository }) => bearerChallenge(realm, 'docker.pkg.dev', repository),
      redirect: { status: 302, toItself: true },
      tags: { all: true },
    },
    referrers: 'listed',
    limit: { code: 429, body: 'Too Many Requests' },
  },
  {
    name: 'Azure Container Registry',
    auth: 'bearer',
    ways: {
      challenge: (realm, { repository, kind }) =>
        bearerChallenge(realm, 'azurecr.io', repository, kind === 'tags' ? 'metadata_read' : 'pull'),
      listAction: 'metadata_read',
      tokenFields: ['access_token'],
      tags: { link: ({ path, last, size }) => `<${path}?last=${last}&n=${size}&orderby=>; rel="next"` },
    },
    referrers: 'listed',
    limit: tooMany('too many requests'),
  },
  {
    name: 'Microsoft (mcr.microsoft.com)',
    auth: 'none',
    ways: {},
    referrers: 'unknown',
  },
  {
    name: 'Kubernetes (registry.k8s.io)',
    auth: 'none',
    ways: { frontOf: '/v2/k8s-artifacts-prod/images', tags: { all: true } },
    referrers: 'listed',
    limit: { code: 429, body: 'Too Many Requests' },
  },
  {
    name: 'Nexus',
    auth: 'basic',
    needsLogin: true,
    sendsBlobs: true,
    ways: {
      challenge: () => 'BASIC realm="Sonatype Nexus Repository Manager"',
      tags: {
        link: ({ origin, path, size, last }) =>
          `<${origin}/repository/docker-proxy${path}?n=${size}&last=${last}>; rel="next"`,
      },
    },
    referrers: 'unknown',
    faults: () => [{ match: HEADS, do: { status: { code: 404, body: PAGE, headers: HTML } } }],
  },
  {
    name: 'Artifactory',
    auth: 'bearer',
    needsLogin: true,
    sendsBlobs: true,
    ways: {
      challenge: (realm, { repository }) => bearerChallenge(realm, 'artifactory.local:443', repository),
      anonymousRefusal: 406,
      tags: {
        // Without the name of the repository that Artifactory goes by itself, and with a number for a tag.
        link: ({ size, offset }) => `</v2/elsewhere/tags/list?last=${offset}&n=${size}>; rel="next"`,
        offset: (query) => Number(query.get('last') ?? 0),
      },
      missing: {
        status: 403,
        code: 'UNAUTHORIZED',
        message: 'The client does not have permission for manifest',
      },
    },
    referrers: 'unknown',
    faults: () => [{ match: REFERRERS, do: { status: { code: 406 } } }],
  },
  {
    name: 'Harbor',
    auth: 'bearer',
    sendsBlobs: true,
    ways: { challenge: (realm, { repository }) => bearerChallenge(realm, 'harbor-registry', repository) },
    referrers: 'listed',
  },
  {
    name: 'GitLab',
    auth: 'bearer',
    ways: {
      challenge: (realm, { repository }) => bearerChallenge(realm, 'container_registry', repository),
      redirect: { status: 307, heads: true },
      dashedDigests: true,
    },
    referrers: 'unknown',
  },
  {
    name: 'Gitea',
    auth: 'bearer',
    ways: {
      challenge: (realm) => `Bearer realm="${realm}", Basic`,
      tokenFields: ['token'],
      redirect: { status: 307, manifests: true, falseLength: true },
      tags: { linksOn: true },
    },
    referrers: 'unknown',
  },
  {
    name: 'zot',
    auth: 'basic',
    needsLogin: true,
    sendsBlobs: true,
    ways: {
      challenge: () => 'basic realm=zot',
      headLength: '0',
      tags: { link: ({ path, size, last }) => `${path}?n=${size}&last=${last}; rel="next"` },
    },
    referrers: 'listed',
  },
];
