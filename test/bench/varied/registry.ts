import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Content } from '../../fake/content.ts';
import type { StoredManifest } from '../../fake/library.ts';
import { image, LINUX_AMD64, LINUX_ARM64, multiPlatform } from '../../fixtures/images.ts';

/** Tags of this form do not exist, in any repository. */
const ABSENT_TAG = /^absent-/;

/**
 * An upstream that has every repository under any name, and in each of them the same images under any tag: what a
 * request names can vary without end, and the registry remembers nothing of it.
 */
export class EndlessRegistry {
  readonly manifests: readonly StoredManifest[];
  readonly blobs: readonly Content[];
  readonly #roots: readonly StoredManifest[];
  readonly #manifestOf: ReadonlyMap<string, StoredManifest>;
  readonly #blobOf: ReadonlyMap<string, Content>;
  readonly #server: Server;

  /** Half of the `images` are for one platform. */
  constructor(images: number) {
    const contents = Array.from({ length: images }, (_, number) =>
      number % 2 === 0
        ? image({ message: `image ${number}` })
        : multiPlatform({ message: `image ${number}`, platforms: [LINUX_AMD64, LINUX_ARM64] }),
    );
    this.#roots = contents.map(({ root }) => root);
    this.manifests = contents.flatMap(({ manifests }) => manifests);
    this.blobs = contents.flatMap(({ blobs }) => blobs);
    this.#manifestOf = new Map(this.manifests.map((manifest) => [manifest.digest, manifest]));
    this.#blobOf = new Map(this.blobs.map((blob) => [blob.digest, blob]));
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const [, kind, reference = ''] = /\/(manifests|blobs|tags)\/([^/]+)$/.exec(path) ?? [];
    if (path === '/v2/') send(request, response, 'application/json', Buffer.from('{}'));
    else if (kind === 'manifests') this.#manifest(request, response, reference);
    else if (kind === 'blobs') this.#blob(request, response, reference);
    else if (kind === 'tags')
      send(request, response, 'application/json', Buffer.from('{"name":"any","tags":["a","b"]}'));
    else absent(response);
  }

  #manifest(request: IncomingMessage, response: ServerResponse, reference: string): void {
    const manifest = reference.startsWith('sha256:')
      ? this.#manifestOf.get(reference)
      : this.#roots[hash(reference) % this.#roots.length];
    if (manifest === undefined || ABSENT_TAG.test(reference)) absent(response);
    else {
      response.setHeader('docker-content-digest', manifest.digest);
      send(request, response, manifest.mediaType, manifest.bytes);
    }
  }

  #blob(request: IncomingMessage, response: ServerResponse, digest: string): void {
    const blob = this.#blobOf.get(digest);
    if (blob === undefined) absent(response);
    else send(request, response, 'application/octet-stream', blob.expectedBytes(0, blob.size));
  }
}

function send(request: IncomingMessage, response: ServerResponse, type: string, bytes: Buffer): void {
  response.writeHead(200, { 'content-type': type, 'content-length': bytes.length });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

function absent(response: ServerResponse): void {
  response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[{"code":"NOT_FOUND"}]}');
}

function hash(text: string): number {
  let sum = 0;
  for (let at = 0; at < text.length; at++) sum = (sum * 31 + text.charCodeAt(at)) >>> 0;
  return sum;
}
