#!/usr/bin/env node
/*
 * An older Node fails at the first word of a module that it does not know, before a line of the program has run. So this
 * file imports nothing before it has looked, and keeps to what Node 12 can read.
 */

/** As `engines` in package.json. */
const OLDEST_NODE = '20.19';
/** How long the operations on files that still run at the end may take. */
const LAST_FILES_MS = 1000;
const LOOK_MS = 20;

const isTooOld = () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE.split('.').map(Number);
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
};

/**
 * exit() waits for the threads that work on files, and one may hang for ever in a file system that does not answer. A
 * signal waits for nothing.
 */
const end = (code: number, leftMs: number) => {
  if (!process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))) process.exit(code);
  if (leftMs > 0) {
    setTimeout(() => end(code, leftMs - LOOK_MS), LOOK_MS);
    return;
  }
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, 'SIGTERM');
};

const start = async () => {
  const { run } = await import('./program.ts');
  end(await run(process.argv), LAST_FILES_MS);
};

if (isTooOld()) {
  const found = process.versions.node;
  process.stderr.write(`pierhead: Node ${found} is too old; install Node ${OLDEST_NODE} or newer\n`);
  process.exit(2);
} else {
  void start();
}
