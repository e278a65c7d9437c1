#!/usr/bin/env node
/*
 * An older Node fails at the first unknown syntax of a module, before any code runs. So this file imports nothing before it
 * has tested the version, and its own syntax is that of Node 12.
 */

/** As `engines` in package.json. */
const OLDEST_NODE = '20.19';
/** Longest wait at the end for running file operations. */
const LAST_FILES_MS = 1000;
const POLL_MS = 20;

const isTooOld = () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE.split('.').map(Number);
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
};

/**
 * exit() waits for the threads that work on files, and a hanging file system can block one for ever. A signal ends the
 * process at once.
 */
const end = (code: number, leftMs: number) => {
  if (!process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))) process.exit(code);
  if (leftMs > 0) {
    setTimeout(() => end(code, leftMs - POLL_MS), POLL_MS);
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
