/** The address of the mirror, as clients use it. */
interface MirrorAddress {
  /** Origin: `http://pierhead.example.net:5000`. */
  readonly url: string;
  /** The registry that the mirror stands for: `docker.io`. */
  readonly registry: string;
  /** True if clients need the file of its authority to trust its certificate. */
  readonly hasOwnAuthority: boolean;
  /** `2` is containerd 2.2 and newer, `1` is older. Undefined: the file has both lines, one as a comment. */
  readonly containerd?: ContainerdVersion;
}

export const CONTAINERD_VERSIONS = ['1', '2'] as const;
type ContainerdVersion = (typeof CONTAINERD_VERSIONS)[number];

/** The files that make a client use the mirror. */
interface ClientFiles {
  readonly file: ClientFile;
  /** Path on the client for the certificate of the authority. */
  readonly authorityPath: string;
  /** The next step, once the files are in place. */
  readonly afterwards: string;
}

interface ClientFile {
  /** Name under `config/clients/`. */
  readonly name: string;
  /** Path on the client. */
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
    'ctr needs --hosts-dir /etc/containerd/certs.d, the CRI config_path = "/etc/containerd/certs.d"; a change of hosts.toml needs no restart',
  ),
  nerdctl: hostsToml(
    'nothing more; rootless: ~/.config/containerd/certs.d instead of /etc/containerd/certs.d',
  ),
  podman,
  buildkit,
  k3s,
  kaniko,
} as const satisfies Readonly<Record<string, Describe>>;

type ClientName = keyof typeof CLIENTS;

export function isClientName(text: string): text is ClientName {
  return Object.hasOwn(CLIENTS, text);
}

/** The files for a client of a mirror. */
export function clientFiles(client: ClientName, address: MirrorAddress): ClientFiles {
  const { host, protocol } = new URL(address.url);
  return CLIENTS[client](address, { host, isPlain: protocol === 'http:' });
}

/**
 * The location of the mirror for clients that do not name the registry. containerd, BuildKit and k3s name it by `?ns=`.
 * Others need it in the path; otherwise they get the repository of the same name from Docker Hub.
 */
function placeOf(host: string, registry: string): string {
  return registry === 'docker.io' ? host : `${host}/${registry}`;
}

/** The URL of a registry. The host of Docker Hub differs from its name in references. */
function serverOf(registry: string): string {
  return registry === 'docker.io' ? 'https://registry-1.docker.io' : `https://${registry}`;
}

function docker(address: MirrorAddress, { host }: { readonly host: string }): ClientFiles {
  const { url, registry } = address;
  // Docker 29 reads the hosts.toml of containerd, for every registry. `registry-mirrors` is for Docker Hub only.
  if (registry !== 'docker.io') {
    return hostsFiles({ ...address, containerd: '2' }, 'docker', [
      'Docker Engine 29 or newer with the containerd image store, its default',
      'nothing more: Docker reads it at each pull. Older engines have mirrors for docker.io only',
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
 * containerd 2.2 and newer bypasses a mirror without `referrers` when it asks for them. Older versions skip a mirror with an
 * unknown capability (containerd, `core/remotes/docker/config`).
 */
function capabilities(version: ContainerdVersion | undefined): readonly string[] {
  const older = '  capabilities = ["pull", "resolve"]';
  const newer = '  capabilities = ["pull", "resolve", "referrers"]';
  if (version !== undefined) return [version === '1' ? older : newer];
  return [
    older,
    '  # containerd 2.2 and newer, Docker 29 and newer: use this line in place of the one above. Without it they ask',
    '  # for signatures past the mirror. Older versions skip a mirror that has it, without a message.',
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
