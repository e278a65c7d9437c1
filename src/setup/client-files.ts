/** Where clients find the mirror. */
export interface MirrorAddress {
  /** Origin: `http://pierhead.example.net:5000`. */
  readonly url: string;
  /** What the mirror is for: `docker.io`. */
  readonly registry: string;
  /** Whether the clients' systems do not trust its certificate by themselves; its authority is then put beside. */
  readonly hasOwnAuthority: boolean;
  /** For containerd: 2 is 2.2 and newer, 1 everything before; undefined: either, to be chosen in the file. */
  readonly containerd?: ContainerdVersion;
}

export const CONTAINERD_VERSIONS = ['1', '2'] as const;
export type ContainerdVersion = (typeof CONTAINERD_VERSIONS)[number];

/** What makes a client use the mirror. */
export interface ClientFiles {
  readonly file: ClientFile;
  /** Where the certificate of the authority goes, if it has one of its own. */
  readonly authorityPath: string;
  /** What is to be done when the files are there. */
  readonly afterwards: string;
}

export interface ClientFile {
  /** Under `config/clients/`. */
  readonly name: string;
  /** On the client. */
  readonly path: string;
  readonly text: string;
}

type Describe = (
  address: MirrorAddress,
  parts: { readonly host: string; readonly isPlain: boolean },
) => ClientFiles;

/** `pierhead setup <client>`, by client. */
export const CLIENTS = {
  docker,
  containerd: hostsToml(
    'ctr needs --hosts-dir /etc/containerd/certs.d, the CRI config_path = "/etc/containerd/certs.d"; nothing is to be restarted for hosts.toml itself',
  ),
  nerdctl: hostsToml(
    'nothing more; rootless: ~/.config/containerd/certs.d instead of /etc/containerd/certs.d',
  ),
  podman,
  buildkit,
  k3s,
  kaniko,
} as const satisfies Readonly<Record<string, Describe>>;

export type ClientName = keyof typeof CLIENTS;

export function isClientName(text: string): text is ClientName {
  return Object.hasOwn(CLIENTS, text);
}

/** The files for a client of a mirror. */
export function clientFiles(client: ClientName, address: MirrorAddress): ClientFiles {
  const { host, protocol } = new URL(address.url);
  return CLIENTS[client](address, { host, isPlain: protocol === 'http:' });
}

/**
 * The mirror of a registry for clients that do not say which one they mean: containerd, BuildKit and k3s add `?ns=`,
 * others would get the repository of that name at Docker Hub unless the registry stands in the path.
 */
function placeOf(host: string, registry: string): string {
  return registry === 'docker.io' ? host : `${host}/${registry}`;
}

/** Hosts of registries that differ from the name in references. */
function serverOf(registry: string): string {
  return registry === 'docker.io' ? 'https://registry-1.docker.io' : `https://${registry}`;
}

function docker(address: MirrorAddress, { host }: { readonly host: string }): ClientFiles {
  const { url, registry } = address;
  // Docker 29 reads what containerd reads, for every registry; `registry-mirrors` is for Docker Hub alone.
  if (registry !== 'docker.io') {
    return hostsFiles({ ...address, containerd: '2' }, 'docker', [
      'Docker Engine 29 or newer with the containerd image store, its default',
      'nothing more: it is read at each pull. Older engines have mirrors for docker.io only',
    ]);
  }
  return {
    file: {
      name: 'daemon.json',
      path: '/etc/docker/daemon.json',
      text: lines('{', `  "registry-mirrors": ["${url}"]`, '}'),
    },
    authorityPath: `/etc/docker/certs.d/${host}/ca.crt`,
    afterwards: 'systemctl reload docker',
  };
}

function hostsToml(afterwards: string): Describe {
  return (address) => hostsFiles(address, 'containerd', ['containerd, nerdctl and ctr', afterwards]);
}

function hostsFiles(
  { url, registry, hasOwnAuthority, containerd }: MirrorAddress,
  program: 'containerd' | 'docker',
  [readers, afterwards]: readonly [readers: string, afterwards: string],
): ClientFiles {
  const folder = `/etc/${program}/certs.d/${registry}`;
  const authorityPath = `${folder}/pierhead-ca.crt`;
  return {
    file: {
      name: 'hosts.toml',
      path: `${folder}/hosts.toml`,
      text: lines(
        `# ${readers}: ${folder}/hosts.toml`,
        `server = "${serverOf(registry)}"`,
        '',
        `[host."${url}"]`,
        ...capabilities(containerd),
        ...(hasOwnAuthority ? [`  ca = "${authorityPath}"`] : []),
      ),
    },
    authorityPath,
    afterwards,
  };
}

/**
 * containerd asks for referrers from 2.2 on, past a mirror that does not list them; before, it takes a mirror with a
 * capability that it does not know for none (containerd, `core/remotes/docker/config`).
 */
function capabilities(version: ContainerdVersion | undefined): readonly string[] {
  const older = '  capabilities = ["pull", "resolve"]';
  const newer = '  capabilities = ["pull", "resolve", "referrers"]';
  if (version !== undefined) return [version === '1' ? older : newer];
  return [
    older,
    '  # containerd 2.2 and newer, Docker 29 and newer: this line in place of the one above. Without it they ask for',
    '  # signatures past the mirror; older ones leave out a mirror that has it, without a word.',
    `  # ${newer.trim()}`,
  ];
}

function podman(
  { registry }: MirrorAddress,
  { host, isPlain }: { readonly host: string; readonly isPlain: boolean },
): ClientFiles {
  const path = '/etc/containers/registries.conf.d/pierhead.conf';
  return {
    file: {
      name: 'registries.conf',
      path,
      text: lines(
        `# Podman, Skopeo, Buildah and CRI-O: ${path}`,
        '[[registry]]',
        `prefix = "${registry}"`,
        `location = "${registry}"`,
        '',
        '[[registry.mirror]]',
        `location = "${placeOf(host, registry)}"`,
        ...(isPlain ? ['# Plain HTTP: these clients otherwise insist on TLS.', 'insecure = true'] : []),
      ),
    },
    authorityPath: `/etc/containers/certs.d/${host}/ca.crt`,
    afterwards: 'nothing more; CRI-O: systemctl reload crio',
  };
}

function buildkit(
  { registry, hasOwnAuthority }: MirrorAddress,
  { host, isPlain }: { readonly host: string; readonly isPlain: boolean },
): ClientFiles {
  const authorityPath = '/etc/buildkit/pierhead-ca.crt';
  const trust = hasOwnAuthority ? [`  ca = ["${authorityPath}"]`] : [];
  const about = isPlain ? ['  http = true'] : trust;
  return {
    file: {
      name: 'buildkitd.toml',
      path: '/etc/buildkit/buildkitd.toml',
      text: lines(
        '# BuildKit: docker buildx create --driver docker-container --buildkitd-config buildkitd.toml',
        `[registry."${registry}"]`,
        `  mirrors = ["${host}"]`,
        ...(about.length === 0 ? [] : ['', `[registry."${host}"]`, ...about]),
      ),
    },
    authorityPath,
    afterwards:
      'docker buildx create --driver docker-container --buildkitd-config /etc/buildkit/buildkitd.toml',
  };
}

function k3s(
  { url, registry, hasOwnAuthority }: MirrorAddress,
  { host }: { readonly host: string },
): ClientFiles {
  const authorityPath = '/etc/rancher/k3s/pierhead-ca.crt';
  const trust = ['configs:', `  '${host}':`, '    tls:', `      ca_file: ${authorityPath}`];
  return {
    file: {
      name: 'registries.yaml',
      path: '/etc/rancher/k3s/registries.yaml',
      text: lines(
        '# k3s: /etc/rancher/k3s/registries.yaml; RKE2: /etc/rancher/rke2/registries.yaml',
        'mirrors:',
        `  ${registry}:`,
        '    endpoint:',
        `      - ${url}`,
        ...(hasOwnAuthority ? trust : []),
      ),
    },
    authorityPath,
    afterwards: 'systemctl restart k3s, or k3s-agent, on each node',
  };
}

function kaniko(
  { registry, hasOwnAuthority }: MirrorAddress,
  { host, isPlain }: { readonly host: string; readonly isPlain: boolean },
): ClientFiles {
  const authorityPath = '/kaniko/pierhead-ca.crt';
  return {
    file: {
      name: 'kaniko.yaml',
      path: 'the arguments of the executor, in the pod that runs it',
      text: lines(
        '# kaniko: arguments of the executor',
        'args:',
        registry === 'docker.io'
          ? `  - --registry-mirror=${host}`
          : `  - --registry-map=${registry}=${placeOf(host, registry)}`,
        ...(isPlain ? [`  - --insecure-registry=${host}`] : []),
        ...(hasOwnAuthority ? [`  - --registry-certificate=${host}=${authorityPath}`] : []),
      ),
    },
    authorityPath,
    afterwards: 'nothing more',
  };
}

function lines(...all: readonly string[]): string {
  return `${all.join('\n')}\n`;
}
