CREATE TABLE `authorActivity` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`authorId` text NOT NULL,
	`day` text NOT NULL,
	`posts` integer DEFAULT 0 NOT NULL,
	`words` integer DEFAULT 0 NOT NULL,
	`comments` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`tenant`, `id`)
) STRICT;
--> statement-breakpoint
CREATE INDEX `authorActivity_by_author` ON `authorActivity` (`tenant`,`authorId`,`day`);
--> statement-breakpoint
CREATE INDEX `authorActivity_by_day` ON `authorActivity` (`tenant`,`day`,`id`);
--> statement-breakpoint
CREATE TABLE `projected` (
	`projection` text NOT NULL,
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`record` text NOT NULL,
	PRIMARY KEY(`projection`, `tenant`, `id`)
) STRICT;
--> statement-breakpoint
CREATE TABLE `projections` (
	`name` text PRIMARY KEY NOT NULL,
	`digest` text NOT NULL,
	`phase` text NOT NULL,
	`step` integer NOT NULL,
	`seq` integer NOT NULL,
	`source` integer NOT NULL,
	`tenant` text NOT NULL,
	`id` text NOT NULL
) STRICT;
--> statement-breakpoint
DROP VIEW "v1_users";
--> statement-breakpoint
DROP VIEW "v2_users";
--> statement-breakpoint
CREATE VIEW "v1_users" AS -- Perigee: users as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."handle" AS "handle",
  coalesce(substr(t."name", 1, nullif(instr(t."name", ' '), 0) - 1), t."name") AS "givenName",
  substr(t."name", nullif(instr(t."name", ' '), 0) + 1) AS "familyName",
  json_object('homepage', t."homepage") AS "profile",
  t."postCount" AS "postCount",
  t."wordCount" AS "wordCount"
FROM "users" t;
--> statement-breakpoint
CREATE VIEW "v1_authorActivity" AS -- Perigee: authorActivity as version 2026-03-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."day" AS "day",
  t."posts" AS "posts",
  t."words" AS "words",
  t."comments" AS "comments"
FROM "authorActivity" t;
--> statement-breakpoint
CREATE VIEW "v2_users" AS -- Perigee: users as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."handle" AS "handle",
  coalesce(substr(t."name", 1, nullif(instr(t."name", ' '), 0) - 1), t."name") AS "givenName",
  substr(t."name", nullif(instr(t."name", ' '), 0) + 1) AS "familyName",
  t."homepage" AS "homepage",
  t."postCount" AS "postCount",
  t."wordCount" AS "wordCount"
FROM "users" t;
--> statement-breakpoint
CREATE VIEW "v2_authorActivity" AS -- Perigee: authorActivity as version 2026-07-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."day" AS "day",
  t."posts" AS "posts",
  t."words" AS "words",
  t."comments" AS "comments"
FROM "authorActivity" t;
--> statement-breakpoint
CREATE VIEW "v3_authorActivity" AS -- Perigee: authorActivity as version 2026-11-01 shows them
SELECT
  t.tenant AS "tenant",
  t."id" AS "id",
  t."version" AS "version",
  t."createdAt" AS "createdAt",
  t."updatedAt" AS "updatedAt",
  t."authorId" AS "authorId",
  t."day" AS "day",
  t."posts" AS "posts",
  t."words" AS "words",
  t."comments" AS "comments"
FROM "authorActivity" t;
--> statement-breakpoint
CREATE TRIGGER "authorActivity_keeps_key" BEFORE UPDATE OF tenant, id ON "authorActivity" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'authorActivity: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "authorActivity_after_insert" AFTER INSERT ON "authorActivity" BEGIN
  update "authorActivity" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'authorActivity: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'authorActivity' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'authorActivity' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'authorActivity', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'authorId', t."authorId", 'day', t."day", 'posts', t."posts", 'words', t."words", 'comments', t."comments"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "authorActivity" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'authorActivity', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
END;
--> statement-breakpoint
CREATE TRIGGER "authorActivity_after_update" AFTER UPDATE ON "authorActivity" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."authorId" is not new."authorId" or old."day" is not new."day" or old."posts" is not new."posts" or old."words" is not new."words" or old."comments" is not new."comments") BEGIN
  update "authorActivity" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'authorActivity', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'authorId', t."authorId", 'day', t."day", 'posts', t."posts", 'words', t."words", 'comments', t."comments"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."authorId" is not t."authorId", ',"authorId"', '') || iif(old."day" is not t."day", ',"day"', '') || iif(old."posts" is not t."posts", ',"posts"', '') || iif(old."words" is not t."words", ',"words"', '') || iif(old."comments" is not t."comments", ',"comments"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "authorActivity" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'authorActivity', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
END;
--> statement-breakpoint
CREATE TRIGGER "authorActivity_after_delete" AFTER DELETE ON "authorActivity" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'authorActivity', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'authorActivity', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
END;
