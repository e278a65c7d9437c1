import type { FakeHub } from '../fake/hub.ts';
import { fetchRaw, rawRequest, RawExchange, type RawResponse } from './http.ts';

/** As whom to ask for a token; without a password, anonymously. */
export interface TokenRequest {
  readonly repository: string;
  readonly user?: string;
  readonly password?: string;
}

/** The value of an `Authorization` header with Basic credentials (RFC 7617). */
export function basicAuth(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** What the token service of the stand-in says to a request for the right to pull. */
export function askToken(hub: FakeHub, { repository, user, password }: TokenRequest): Promise<RawResponse> {
  const url = `${hub.tokenUrl}/token?service=registry.docker.io&scope=repository:${repository}:pull`;
  if (user === undefined || password === undefined) return fetchRaw(url);
  return fetchRaw(url, { headers: { Authorization: basicAuth(user, password) } });
}

/** The value of an `Authorization` header with a token from the stand-in. */
export async function bearer(hub: FakeHub, request: TokenRequest): Promise<string> {
  const answer = await askToken(hub, request);
  const { token } = JSON.parse(answer.body.toString()) as { token: string };
  return `Bearer ${token}`;
}

export interface HubRequest {
  /** Below `/v2/<repository>/`, e.g. `manifests/latest`. */
  readonly path: string;
  readonly repository: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request to the registry with an anonymous token. */
export async function ask(hub: FakeHub, request: HubRequest): Promise<RawResponse> {
  const { path, repository, method = 'GET', headers = {} } = request;
  const authorization = await bearer(hub, { repository });
  return rawRequest({
    origin: hub.url,
    method,
    target: `/v2/${repository}/${path}`,
    headers: [['Authorization', authorization], ...Object.entries(headers)],
  });
}

/** The signed URL that the registry sends a client to for a blob. */
export async function signedUrl(hub: FakeHub, repository: string, digest: string): Promise<string> {
  const redirect = await ask(hub, { repository, path: `blobs/${digest}` });
  const location = redirect.header('location');
  if (location === undefined) throw new Error(`no redirect but ${redirect.status} for ${digest}`);
  return location;
}

/** Begins to get a blob from the blob host. */
export async function openBlob(
  hub: FakeHub,
  blob: { readonly repository: string; readonly digest: string; readonly range?: string },
): Promise<RawExchange> {
  const { origin, pathname, search } = new URL(await signedUrl(hub, blob.repository, blob.digest));
  const headers: [string, string][] = blob.range === undefined ? [] : [['Range', blob.range]];
  return new RawExchange({ origin, target: pathname + search, headers });
}

/** The code of the first error in an answer that the distribution-spec describes. */
export function errorCode(answer: RawResponse): string | undefined {
  const document = JSON.parse(answer.body.toString()) as { errors?: { code: string }[] };
  return document.errors?.[0]?.code;
}

/** The message of that error; empty if there is none. */
export function errorMessage(answer: RawResponse): string {
  const { errors } = JSON.parse(answer.body.toString()) as { errors: { message: string }[] };
  return errors[0]?.message ?? '';
}
