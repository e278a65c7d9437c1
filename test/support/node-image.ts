import { copyFile, cp, mkdir, realpath, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { run } from './commands.ts';

/** What the build of an image runs besides Node and npm. */
const PROGRAMS = ['/bin/sh', '/usr/bin/env', '/usr/bin/find', '/usr/bin/install', '/bin/ls', '/bin/rm'];

export interface NodeImage {
  /** A tar archive of the root file system, for `docker import`. */
  readonly archivePath: string;
  /** What the image has to set, in the words of a Dockerfile. */
  readonly changes: readonly string[];
}

/**
 * A stand-in for the official Node image, which cannot be pulled without a network: this machine's Node and npm, where
 * that image has them, with the few programs and shared libraries that are needed. `folder` is an empty one.
 */
export async function createNodeImage(folder: string): Promise<NodeImage> {
  const root = join(folder, 'root');
  const node = process.execPath;
  await copyInto(root, node, '/usr/local/bin/node');
  await copyNpm(root, node);
  for (const file of [...PROGRAMS, ...(await librariesOf([node, ...PROGRAMS]))])
    await copyInto(root, file, file);
  await mkdir(join(root, 'tmp'), { mode: 0o1777 });
  const changes = ['ENV PATH=/usr/local/bin:/usr/bin:/bin'];
  // The certificates that this machine needs for its way to the npm registry.
  const certificates = process.env['NODE_EXTRA_CA_CERTS'];
  if (certificates !== undefined) {
    await copyInto(root, certificates, certificates);
    changes.push(`ENV NODE_EXTRA_CA_CERTS=${certificates}`);
  }
  const archivePath = join(folder, 'root.tar');
  await run({ program: 'tar', args: ['--create', '--directory', root, '--file', archivePath, '.'] });
  return { archivePath, changes };
}

/** Links are followed, so that a library is there by the name that programs ask for. */
async function copyInto(root: string, source: string, target: string): Promise<void> {
  const path = join(root, target);
  await mkdir(dirname(path), { recursive: true });
  await copyFile(source, path);
}

/** npm lies in a folder beside the one of Node, here and in the official image. */
async function copyNpm(root: string, node: string): Promise<void> {
  const cli = await realpath(join(dirname(node), 'npm'));
  await cp(resolve(cli, '../..'), join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
}

/** The absolute paths that ldd(1) shows. */
async function librariesOf(programs: readonly string[]): Promise<Set<string>> {
  const { stdout } = await run({ program: 'ldd', args: programs });
  // Each program's own line ends in a colon.
  return new Set(stdout.toString().match(/\/\S+(?= \(0x)/g) ?? []);
}
