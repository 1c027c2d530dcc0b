import { constants } from 'node:fs';
import {
  access,
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readlink,
  rm,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalError } from './local-error.ts';
import { run } from './run.ts';

/** A user of the operating system by number. */
export interface OsUser {
  uid: number;
  gid: number;
  name: string;
}

/** A folder on every Unix that all users may enter and that, unlike /tmp, is kept across a restart. */
export const SHARED_TMP = '/var/tmp';

/** What to pass to `spawn` so that a program runs as the user; nothing when it is ourselves. */
export function dropsTo(user: OsUser | undefined): { uid?: number; gid?: number } {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}

/**
 * The user as whom PostgreSQL runs: ourselves (undefined), since it refuses to run as root then
 * `postgres` or `nobody`, and the owner of the data where there are some already.
 */
export async function postgresUser(dir: string): Promise<OsUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(join(dir, 'data')).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid, name: String(owner.uid) };
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    if (uid.code === 0 && gid.code === 0) {
      return { uid: Number(uid.stdout), gid: Number(gid.stdout), name };
    }
  }
  throw new LocalError(
    'ERR_LOCAL_START',
    'PostgreSQL does not run as root and this system has neither a user postgres nor nobody; start as another user.',
  );
}

/**
 * Makes the folder and gives it to the user. Where the user cannot enter it (a checkout below a home
 * that is closed to others) it becomes a symbolic link to a folder below /var/tmp, which later starts follow.
 */
export async function folderFor(dir: string, user: OsUser | undefined): Promise<string> {
  if (user === undefined) {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await access(dir, constants.W_OK).catch((error: unknown) => {
      throw new LocalError(
        'ERR_LOCAL_START',
        `${dir} belongs to another user (it was perhaps made as root); start as that user or delete it to begin anew.`,
        { cause: error },
      );
    });
    return dir;
  }
  const link = await readlink(dir).catch(() => undefined);
  if (link !== undefined) {
    const target = await lstat(link).catch(() => undefined);
    if (target?.isDirectory() && target.uid === user.uid) return link;
    if (target) throw foreign(link, user);
    await rm(dir);
  }
  await mkdir(dirname(dir), { recursive: true });
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const before = await stat(dir);
  await chown(dir, user.uid, user.gid);
  if (await canUse(dir, user)) return dir;

  const empty = await rmdir(dir).then(
    () => true,
    () => false,
  );
  if (!empty) {
    await chown(dir, before.uid, before.gid);
    throw new LocalError(
      'ERR_LOCAL_START',
      `User ${user.name}, as whom PostgreSQL has to run, cannot enter ${dir}; open the folders above it or use another one.`,
    );
  }
  const made = await mkdtemp(join(SHARED_TMP, 'pgacme-'));
  await chown(made, user.uid, user.gid);
  await chmod(made, 0o700);
  await symlink(made, dir);
  return made;
}

/** Deletes a folder that {@link folderFor} made, also where it is a link. */
export async function removeFolder(dir: string): Promise<void> {
  const link = await readlink(dir).catch(() => undefined);
  if (link?.startsWith(join(SHARED_TMP, 'pgacme-')) === true) {
    await rm(link, { recursive: true, force: true });
  }
  await rm(dir, { recursive: true, force: true });
}

// Tried rather than worked out: besides permission bits there are access lists and mount options.
async function canUse(dir: string, user: OsUser): Promise<boolean> {
  const script = 'cd -- "$1" && test -r . && test -w .';
  return (await run('/bin/sh', ['-c', script, 'test', dir], dropsTo(user))).code === 0;
}

function foreign(dir: string, user: OsUser): LocalError {
  return new LocalError(
    'ERR_LOCAL_START',
    `${dir} does not belong to user ${user.name}, as whom PostgreSQL has to run; delete the link to it to begin anew.`,
  );
}
