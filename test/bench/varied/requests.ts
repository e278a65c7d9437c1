import { randomBytes } from 'node:crypto';
import type { Random } from '../soak/random.ts';
import type { EndlessRegistry } from './registry.ts';

export interface VariedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The repositories that are asked for again and again. */
const KNOWN_REPOSITORIES = 200;
const KNOWN_TAGS = 20;
const ACCEPTS = [
  '*/*',
  'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

/** Draws requests of all kinds; most of what they name is asked for once and never again. */
export class VariedRequests {
  readonly #random: Random;
  readonly #registry: EndlessRegistry;
  #number = 0;

  constructor(random: Random, registry: EndlessRegistry) {
    this.#random = random;
    this.#registry = registry;
  }

  next(): VariedRequest {
    const random = this.#random;
    this.#number++;
    const dice = random.next();
    if (dice < 0.06) return this.#manifest(this.#newName(), 'latest');
    if (dice < 0.14) return this.#manifest(this.#name(), `v${this.#number}`);
    if (dice < 0.32) return this.#manifest(this.#name(), `t${random.between(1, KNOWN_TAGS)}`);
    if (dice < 0.4) return this.#manifest(this.#anyName(), random.pick(this.#registry.manifests).digest);
    if (dice < 0.46) return this.#manifest(this.#anyName(), `absent-${this.#number}`);
    if (dice < 0.52) return this.#manifest(this.#anyName(), unknownDigest());
    if (dice < 0.76) return this.#blob(this.#anyName(), random.pick(this.#registry.blobs).digest);
    if (dice < 0.82) return this.#blob(this.#anyName(), unknownDigest());
    if (dice < 0.85) return this.#get(`${this.#anyName()}/tags/list?n=${random.between(1, 2000)}`);
    if (dice < 0.88) return this.#get(`${this.#anyName()}/referrers/${unknownDigest()}`);
    if (dice < 0.94) return this.#elsewhere();
    return this.#nonsense();
  }

  #manifest(name: string, reference: string): VariedRequest {
    return this.#get(`${name}/manifests/${reference}`, { accept: this.#random.pick(ACCEPTS) });
  }

  #blob(name: string, digest: string): VariedRequest {
    const random = this.#random;
    const start = random.between(0, 4000);
    const ranges = [`bytes=${start}-`, `bytes=${start}-${start + 100}`, `bytes=-${start}`, 'bytes=0-1,5-9'];
    return this.#get(`${name}/blobs/${digest}`, random.chance(0.3) ? { range: random.pick(ranges) } : {});
  }

  /** A registry that is not configured: as a namespace, and as the first part of a name. */
  #elsewhere(): VariedRequest {
    const host = `registry-${this.#number}.example.com`;
    const name = this.#name();
    const path = this.#random.chance(0.5)
      ? `${name}/manifests/latest?ns=${host}`
      : `${host}/${name}/tags/list`;
    return this.#get(path);
  }

  #nonsense(): VariedRequest {
    const random = this.#random;
    const paths = [
      '_catalog?n=7',
      'UPPER/manifests/x',
      `${this.#number}`,
      'a/blobs/sha256:12',
      '../../etc/passwd',
    ];
    const methods = ['GET', 'HEAD', 'PUT', 'DELETE', 'POST', 'PATCH'];
    return { ...this.#get(random.pick(paths)), method: random.pick(methods) };
  }

  #get(path: string, headers: Readonly<Record<string, string>> = {}): VariedRequest {
    return {
      method: this.#random.chance(0.2) ? 'HEAD' : 'GET',
      path: `/v2/${path}`,
      headers: {
        'user-agent': `client-${this.#number}/1.${this.#number % 97} os/linux arch/amd64`,
        ...headers,
      },
    };
  }

  #anyName(): string {
    return this.#random.chance(0.6) ? this.#newName() : this.#name();
  }

  #name(): string {
    return `known/r${this.#random.between(1, KNOWN_REPOSITORIES)}`;
  }

  #newName(): string {
    return `once/r${this.#number}`;
  }
}

function unknownDigest(): string {
  return `sha256:${randomBytes(32).toString('hex')}`;
}
