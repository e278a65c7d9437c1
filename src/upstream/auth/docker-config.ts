import { readFile } from 'node:fs/promises';
import { parseJson, JsonError } from '../../lib/json.ts';
import { DOCKER_HUB, DOCKER_HUB_ALIASES } from '../../oci/reference.ts';
import { unavailable } from '../upstream.ts';
import { CredentialHelper } from './credential-helper.ts';
import { dockerServer, IDENTITY_USER, storedLogin, type LoginSource, type StoredLogin } from './logins.ts';

export interface DockerConfigOptions {
  readonly path: string;
  /** The registry's name in the settings. */
  readonly host: string;
  /** Ms since the epoch. */
  readonly now: () => number;
}

interface Fields {
  readonly [key: string]: unknown;
}

/**
 * The login of one registry in a file as `docker login` writes it: from `credHelpers`, else `credsStore`, else
 * `auths` itself (docker/cli, "Credential stores"). Read for each use, so that changes count at once.
 */
export class DockerConfig implements LoginSource {
  readonly #options: DockerConfigOptions;
  readonly #helpers = new Map<string, CredentialHelper>();
  #last: CredentialHelper | undefined;

  constructor(options: DockerConfigOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.path;
  }

  async get(): Promise<StoredLogin> {
    const { path, host } = this.#options;
    const config = await readConfig(path);
    const auths = fieldsOf(config['auths']);
    const server = serverNames(host).find((name) => name in auths) ?? dockerServer(host);
    const named = serverNames(host).map((name) => fieldsOf(config['credHelpers'])[name]);
    const helper = named.find(isText) ?? config['credsStore'];
    this.#last = isText(helper) ? this.#helper(helper, server) : undefined;
    if (this.#last !== undefined) return this.#last.get();
    const login = loginOf(fieldsOf(auths[server]));
    if (login === undefined) throw unavailable('credentials', `${path} holds no credentials for ${host}`);
    return login;
  }

  /** The file is read each time anyway. */
  rejected(): boolean {
    return this.#last?.rejected() ?? false;
  }

  #helper(helper: string, server: string): CredentialHelper {
    if (!/^\w[\w.-]{0,63}$/.test(helper)) {
      throw unavailable('credentials', `${this.name} names a credential helper with an invalid name`);
    }
    const key = `${helper} ${server}`;
    const known = this.#helpers.get(key) ?? new CredentialHelper({ helper, server, now: this.#options.now });
    this.#helpers.set(key, known);
    return known;
  }
}

/** The names under which Docker and other tools store a registry. */
function serverNames(host: string): string[] {
  const hosts = host === DOCKER_HUB ? [host, ...DOCKER_HUB_ALIASES] : [host];
  const spelt = hosts.flatMap((each) => [
    each,
    `https://${each}`,
    `https://${each}/v1/`,
    `https://${each}/v2/`,
  ]);
  return [dockerServer(host), ...spelt];
}

async function readConfig(path: string): Promise<Fields> {
  let document: unknown;
  try {
    document = parseJson(await readFile(path, 'utf8'));
  } catch (error) {
    const why = error instanceof JsonError ? error.message : 'cannot be read';
    throw unavailable('credentials', `${path} ${why}`);
  }
  return fieldsOf(document);
}

function loginOf(entry: Fields): StoredLogin | undefined {
  const { identitytoken, auth, username, password } = entry;
  if (isText(identitytoken)) return storedLogin(IDENTITY_USER, identitytoken);
  if (!isText(auth)) return storedLogin(username, password);
  const pair = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : storedLogin(pair.slice(0, colon), pair.slice(colon + 1));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
