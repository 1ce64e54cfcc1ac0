CREATE TABLE `comments` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`postId` text NOT NULL,
	`authorId` text NOT NULL,
	`body` text NOT NULL,
	`authorName` text DEFAULT '' NOT NULL,
	PRIMARY KEY(`tenant`, `id`),
	FOREIGN KEY (`tenant`,`postId`) REFERENCES `posts`(`tenant`,`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`tenant`,`authorId`) REFERENCES `users`(`tenant`,`id`) ON UPDATE no action ON DELETE restrict,
	CONSTRAINT "comments_body_length" CHECK(length("comments"."body") between 1 and 10000)
) STRICT;
--> statement-breakpoint
CREATE INDEX `comments_by_post` ON `comments` (`tenant`,`postId`,`id`);
--> statement-breakpoint
CREATE INDEX `comments_latest` ON `comments` (`tenant`,`postId`,`createdAt`);
--> statement-breakpoint
CREATE INDEX `comments_by_author` ON `comments` (`tenant`,`authorId`,`id`);
--> statement-breakpoint
CREATE TABLE `posts` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`authorId` text NOT NULL,
	`slug` text NOT NULL,
	`title` text NOT NULL,
	`body` text DEFAULT '' NOT NULL,
	`status` text DEFAULT 'draft' NOT NULL,
	`words` integer DEFAULT 0 NOT NULL,
	`meta` text,
	`authorName` text DEFAULT '' NOT NULL,
	`commentCount` integer DEFAULT 0 NOT NULL,
	`lastCommentAt` text,
	PRIMARY KEY(`tenant`, `id`),
	FOREIGN KEY (`tenant`,`authorId`) REFERENCES `users`(`tenant`,`id`) ON UPDATE no action ON DELETE restrict,
	CONSTRAINT "posts_status" CHECK("posts"."status" in ('draft', 'published', 'archived')),
	CONSTRAINT "posts_title_length" CHECK(length("posts"."title") between 1 and 300)
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `posts_by_slug` ON `posts` (`tenant`,`slug`);
--> statement-breakpoint
CREATE INDEX `posts_by_author` ON `posts` (`tenant`,`authorId`,`id`);
--> statement-breakpoint
CREATE INDEX `posts_by_status` ON `posts` (`tenant`,`status`,`createdAt`,`id`);
--> statement-breakpoint
CREATE INDEX `posts_newest` ON `posts` (`tenant`,`createdAt`,`id`);
--> statement-breakpoint
CREATE INDEX `posts_most_discussed` ON `posts` (`tenant`,`commentCount`,`id`);
--> statement-breakpoint
CREATE TABLE `postTags` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`postId` text NOT NULL,
	`tagId` text NOT NULL,
	PRIMARY KEY(`tenant`, `id`),
	FOREIGN KEY (`tenant`,`postId`) REFERENCES `posts`(`tenant`,`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`tenant`,`tagId`) REFERENCES `tags`(`tenant`,`id`) ON UPDATE no action ON DELETE cascade
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `postTags_pair` ON `postTags` (`tenant`,`postId`,`tagId`);
--> statement-breakpoint
CREATE INDEX `postTags_by_tag` ON `postTags` (`tenant`,`tagId`,`id`);
--> statement-breakpoint
CREATE TABLE `tags` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`name` text NOT NULL,
	`postCount` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`tenant`, `id`)
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `tags_by_name` ON `tags` (`tenant`,`name`);
--> statement-breakpoint
CREATE INDEX `tags_most_used` ON `tags` (`tenant`,`postCount`,`id`);
--> statement-breakpoint
CREATE TABLE `users` (
	`tenant` text NOT NULL,
	`id` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`handle` text NOT NULL,
	`name` text NOT NULL,
	`homepage` text,
	`postCount` integer DEFAULT 0 NOT NULL,
	`wordCount` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`tenant`, `id`),
	CONSTRAINT "users_name_length" CHECK(length("users"."name") between 1 and 200)
) STRICT;
--> statement-breakpoint
CREATE UNIQUE INDEX `users_by_handle` ON `users` (`tenant`,`handle`);
--> statement-breakpoint
CREATE TABLE `batchResults` (
	`place` integer PRIMARY KEY NOT NULL,
	`result` text NOT NULL
) STRICT;
--> statement-breakpoint
CREATE TABLE `changes` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`time` text NOT NULL,
	`tenant` text NOT NULL,
	`resource` text NOT NULL,
	`id` text NOT NULL,
	`operation` text NOT NULL,
	`version` integer NOT NULL,
	`image` text,
	`changed` text,
	`actor` text,
	`request` text
) STRICT;
--> statement-breakpoint
CREATE INDEX `changes_of_record` ON `changes` (`tenant`,`resource`,`id`,`seq`);
--> statement-breakpoint
CREATE TABLE `context` (
	`one` integer PRIMARY KEY NOT NULL,
	`actor` text,
	`request` text,
	`time` text
) STRICT;
--> statement-breakpoint
CREATE TABLE `fanout` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant` text NOT NULL,
	`source` text NOT NULL,
	`target` text NOT NULL,
	`field` text NOT NULL,
	`reached` text DEFAULT ''
) STRICT;
--> statement-breakpoint
CREATE TABLE `heads` (
	`tenant` text NOT NULL,
	`resource` text NOT NULL,
	`seq` integer NOT NULL,
	`rows` integer NOT NULL,
	PRIMARY KEY(`tenant`, `resource`)
) STRICT, WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `idempotency` (
	`tenant` text NOT NULL,
	`key` text NOT NULL,
	`fingerprint` text NOT NULL,
	`createdAt` text NOT NULL,
	`status` integer,
	`id` text,
	`version` integer,
	`body` text,
	`seq` integer,
	PRIMARY KEY(`tenant`, `key`)
) STRICT;
--> statement-breakpoint
CREATE TABLE `keys` (
	`hash` text PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`tenant` text NOT NULL,
	`scopes` text NOT NULL,
	`subject` text,
	`createdAt` text NOT NULL,
	`revokedAt` text
) STRICT;
--> statement-breakpoint
CREATE TABLE `meta` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
) STRICT;
--> statement-breakpoint
INSERT INTO context(one) VALUES (1);
--> statement-breakpoint
CREATE TRIGGER "users_keeps_key" BEFORE UPDATE OF tenant, id ON "users" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'users: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "users_after_insert" AFTER INSERT ON "users" BEGIN
  update "users" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'users: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'users' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'users' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'users', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'handle', t."handle", 'name', t."name", 'homepage', t."homepage", 'postCount', t."postCount", 'wordCount', t."wordCount"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "users" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'users', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
  update "users" set "postCount" = (select count(*) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id), "wordCount" = (select coalesce(sum(s."words"), 0) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id), version = version + 1 where tenant = new.tenant and id = new.id and ("postCount" is not (select count(*) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id) or "wordCount" is not (select coalesce(sum(s."words"), 0) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id));
  update "posts" set "authorName" = new."name", version = version + 1 where tenant = new.tenant and "authorId" = new.id and "authorName" is not new."name";
  update "comments" set "authorName" = new."name", version = version + 1 where tenant = new.tenant and "authorId" = new.id and "authorName" is not new."name";
END;
--> statement-breakpoint
CREATE TRIGGER "users_after_update" AFTER UPDATE ON "users" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."handle" is not new."handle" or old."name" is not new."name" or old."homepage" is not new."homepage" or old."postCount" is not new."postCount" or old."wordCount" is not new."wordCount") and not (new.version = -old.version and old.version > 0 and not (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."handle" is not new."handle" or old."name" is not new."name" or old."homepage" is not new."homepage")) BEGIN
  update "users" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  update "users" set "postCount" = iif((new.version is old.version and old."postCount" is not new."postCount"), (select count(*) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id), "postCount"), "wordCount" = iif((new.version is old.version and old."wordCount" is not new."wordCount"), (select coalesce(sum(s."words"), 0) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id), "wordCount"), version = -version where ((new.version is old.version and old."postCount" is not new."postCount") or (new.version is old.version and old."wordCount" is not new."wordCount")) and tenant = new.tenant and id = new.id and (((new.version is old.version and old."postCount" is not new."postCount") and "postCount" is not (select count(*) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id)) or ((new.version is old.version and old."wordCount" is not new."wordCount") and "wordCount" is not (select coalesce(sum(s."words"), 0) from "posts" s where s.tenant = new.tenant and s."authorId" = new.id)));
  update "users" set version = -version where ((new.version is old.version and old."postCount" is not new."postCount") or (new.version is old.version and old."wordCount" is not new."wordCount")) and tenant = new.tenant and id = new.id and version < 0;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'users', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'handle', t."handle", 'name', t."name", 'homepage', t."homepage", 'postCount', t."postCount", 'wordCount', t."wordCount"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."handle" is not t."handle", ',"handle"', '') || iif(old."name" is not t."name", ',"name"', '') || iif(old."homepage" is not t."homepage", ',"homepage"', '') || iif(old."postCount" is not t."postCount", ',"postCount"', '') || iif(old."wordCount" is not t."wordCount", ',"wordCount"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "users" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'users', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
  insert into fanout(tenant, source, target, field) select new.tenant, new.id, 'posts', 'authorName' where old."name" is not new."name" and (select count(*) from (select 1 from "posts" where tenant = new.tenant and "authorId" = new.id limit 1001)) > 1000;
  update "posts" set "authorName" = new."name", version = version + 1 where old."name" is not new."name" and (select count(*) from (select 1 from "posts" where tenant = new.tenant and "authorId" = new.id limit 1001)) <= 1000 and tenant = new.tenant and "authorId" = new.id and "authorName" is not new."name";
  insert into fanout(tenant, source, target, field) select new.tenant, new.id, 'comments', 'authorName' where old."name" is not new."name" and (select count(*) from (select 1 from "comments" where tenant = new.tenant and "authorId" = new.id limit 1001)) > 1000;
  update "comments" set "authorName" = new."name", version = version + 1 where old."name" is not new."name" and (select count(*) from (select 1 from "comments" where tenant = new.tenant and "authorId" = new.id limit 1001)) <= 1000 and tenant = new.tenant and "authorId" = new.id and "authorName" is not new."name";
END;
--> statement-breakpoint
CREATE TRIGGER "users_after_delete" AFTER DELETE ON "users" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'users', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'users', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
END;
--> statement-breakpoint
CREATE TRIGGER "posts_keeps_key" BEFORE UPDATE OF tenant, id ON "posts" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'posts: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "posts_after_insert" AFTER INSERT ON "posts" BEGIN
  update "posts" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'posts: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'posts' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'posts' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'posts', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'authorId', t."authorId", 'slug', t."slug", 'title', t."title", 'body', t."body", 'status', t."status", 'words', t."words", 'meta', json(t."meta"), 'authorName', t."authorName", 'commentCount', t."commentCount", 'lastCommentAt', t."lastCommentAt"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "posts" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'posts', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
  update "posts" set "authorName" = coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName"), "commentCount" = (select count(*) from "comments" s where s.tenant = new.tenant and s."postId" = new.id), "lastCommentAt" = (select max(s."createdAt") from "comments" s where s.tenant = new.tenant and s."postId" = new.id), version = version + 1 where tenant = new.tenant and id = new.id and ("authorName" is not coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName") or "commentCount" is not (select count(*) from "comments" s where s.tenant = new.tenant and s."postId" = new.id) or "lastCommentAt" is not (select max(s."createdAt") from "comments" s where s.tenant = new.tenant and s."postId" = new.id));
  update "users" set "postCount" = "postCount" + 1, "wordCount" = "wordCount" + coalesce(new."words", 0), version = version + 1 where tenant = new.tenant and id = new."authorId" and ("postCount" is not "postCount" + 1 or "wordCount" is not "wordCount" + coalesce(new."words", 0));
END;
--> statement-breakpoint
CREATE TRIGGER "posts_after_update" AFTER UPDATE ON "posts" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."authorId" is not new."authorId" or old."slug" is not new."slug" or old."title" is not new."title" or old."body" is not new."body" or old."status" is not new."status" or old."words" is not new."words" or old."meta" is not new."meta" or old."authorName" is not new."authorName" or old."commentCount" is not new."commentCount" or old."lastCommentAt" is not new."lastCommentAt") and not (new.version = -old.version and old.version > 0 and not (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."authorId" is not new."authorId" or old."slug" is not new."slug" or old."title" is not new."title" or old."body" is not new."body" or old."status" is not new."status" or old."words" is not new."words" or old."meta" is not new."meta")) BEGIN
  update "posts" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  update "posts" set "authorName" = iif((old."authorId" is not new."authorId" or old."authorName" is not new."authorName"), coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName"), "authorName"), "commentCount" = iif((new.version is old.version and old."commentCount" is not new."commentCount"), (select count(*) from "comments" s where s.tenant = new.tenant and s."postId" = new.id), "commentCount"), "lastCommentAt" = iif((new.version is old.version and old."lastCommentAt" is not new."lastCommentAt"), (select max(s."createdAt") from "comments" s where s.tenant = new.tenant and s."postId" = new.id), "lastCommentAt"), version = -version where ((old."authorId" is not new."authorId" or old."authorName" is not new."authorName") or (new.version is old.version and old."commentCount" is not new."commentCount") or (new.version is old.version and old."lastCommentAt" is not new."lastCommentAt")) and tenant = new.tenant and id = new.id and (((old."authorId" is not new."authorId" or old."authorName" is not new."authorName") and "authorName" is not coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName")) or ((new.version is old.version and old."commentCount" is not new."commentCount") and "commentCount" is not (select count(*) from "comments" s where s.tenant = new.tenant and s."postId" = new.id)) or ((new.version is old.version and old."lastCommentAt" is not new."lastCommentAt") and "lastCommentAt" is not (select max(s."createdAt") from "comments" s where s.tenant = new.tenant and s."postId" = new.id)));
  update "posts" set version = -version where ((old."authorId" is not new."authorId" or old."authorName" is not new."authorName") or (new.version is old.version and old."commentCount" is not new."commentCount") or (new.version is old.version and old."lastCommentAt" is not new."lastCommentAt")) and tenant = new.tenant and id = new.id and version < 0;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'posts', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'authorId', t."authorId", 'slug', t."slug", 'title', t."title", 'body', t."body", 'status', t."status", 'words', t."words", 'meta', json(t."meta"), 'authorName', t."authorName", 'commentCount', t."commentCount", 'lastCommentAt', t."lastCommentAt"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."authorId" is not t."authorId", ',"authorId"', '') || iif(old."slug" is not t."slug", ',"slug"', '') || iif(old."title" is not t."title", ',"title"', '') || iif(old."body" is not t."body", ',"body"', '') || iif(old."status" is not t."status", ',"status"', '') || iif(old."words" is not t."words", ',"words"', '') || iif(old."meta" is not t."meta", ',"meta"', '') || iif(old."authorName" is not t."authorName", ',"authorName"', '') || iif(old."commentCount" is not t."commentCount", ',"commentCount"', '') || iif(old."lastCommentAt" is not t."lastCommentAt", ',"lastCommentAt"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "posts" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'posts', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
  update "users" set "postCount" = "postCount" - 1, "wordCount" = "wordCount" - coalesce(old."words", 0), version = version + 1 where old."authorId" is not new."authorId" and tenant = old.tenant and id = old."authorId" and ("postCount" is not "postCount" - 1 or "wordCount" is not "wordCount" - coalesce(old."words", 0));
  update "users" set "postCount" = "postCount" + 1, "wordCount" = "wordCount" + coalesce(new."words", 0), version = version + 1 where old."authorId" is not new."authorId" and tenant = new.tenant and id = new."authorId" and ("postCount" is not "postCount" + 1 or "wordCount" is not "wordCount" + coalesce(new."words", 0));
  update "users" set "postCount" = "postCount", "wordCount" = "wordCount" + coalesce(new."words", 0) - coalesce(old."words", 0), version = version + 1 where not (old."authorId" is not new."authorId") and tenant = new.tenant and id = new."authorId" and ("postCount" is not "postCount" or "wordCount" is not "wordCount" + coalesce(new."words", 0) - coalesce(old."words", 0));
END;
--> statement-breakpoint
CREATE TRIGGER "posts_after_delete" AFTER DELETE ON "posts" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'posts', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'posts', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
  update "users" set "postCount" = "postCount" - 1, "wordCount" = "wordCount" - coalesce(old."words", 0), version = version + 1 where tenant = old.tenant and id = old."authorId" and ("postCount" is not "postCount" - 1 or "wordCount" is not "wordCount" - coalesce(old."words", 0));
END;
--> statement-breakpoint
CREATE TRIGGER "comments_keeps_key" BEFORE UPDATE OF tenant, id ON "comments" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'comments: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "comments_after_insert" AFTER INSERT ON "comments" BEGIN
  update "comments" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'comments: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'comments' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'comments' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'comments', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'postId', t."postId", 'authorId', t."authorId", 'body', t."body", 'authorName', t."authorName"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "comments" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'comments', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
  update "comments" set "authorName" = coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName"), version = version + 1 where tenant = new.tenant and id = new.id and ("authorName" is not coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName"));
  update "posts" set "commentCount" = "commentCount" + 1, "lastCommentAt" = case when new."createdAt" is null or "lastCommentAt" >= new."createdAt" then "lastCommentAt" else new."createdAt" end, version = version + 1 where tenant = new.tenant and id = new."postId" and ("commentCount" is not "commentCount" + 1 or "lastCommentAt" is not case when new."createdAt" is null or "lastCommentAt" >= new."createdAt" then "lastCommentAt" else new."createdAt" end);
END;
--> statement-breakpoint
CREATE TRIGGER "comments_after_update" AFTER UPDATE ON "comments" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."postId" is not new."postId" or old."authorId" is not new."authorId" or old."body" is not new."body" or old."authorName" is not new."authorName") and not (new.version = -old.version and old.version > 0 and not (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."postId" is not new."postId" or old."authorId" is not new."authorId" or old."body" is not new."body")) BEGIN
  update "comments" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  update "comments" set "authorName" = iif((old."authorId" is not new."authorId" or old."authorName" is not new."authorName"), coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName"), "authorName"), version = -version where ((old."authorId" is not new."authorId" or old."authorName" is not new."authorName")) and tenant = new.tenant and id = new.id and (((old."authorId" is not new."authorId" or old."authorName" is not new."authorName") and "authorName" is not coalesce((select s."name" from "users" s where s.tenant = new.tenant and s.id = new."authorId"), new."authorName")));
  update "comments" set version = -version where ((old."authorId" is not new."authorId" or old."authorName" is not new."authorName")) and tenant = new.tenant and id = new.id and version < 0;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'comments', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'postId', t."postId", 'authorId', t."authorId", 'body', t."body", 'authorName', t."authorName"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."postId" is not t."postId", ',"postId"', '') || iif(old."authorId" is not t."authorId", ',"authorId"', '') || iif(old."body" is not t."body", ',"body"', '') || iif(old."authorName" is not t."authorName", ',"authorName"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "comments" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'comments', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
  update "posts" set "commentCount" = "commentCount" - 1, "lastCommentAt" = case when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end, version = version + 1 where old."postId" is not new."postId" and tenant = old.tenant and id = old."postId" and ("commentCount" is not "commentCount" - 1 or "lastCommentAt" is not case when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end);
  update "posts" set "commentCount" = "commentCount" + 1, "lastCommentAt" = case when new."createdAt" is null or "lastCommentAt" >= new."createdAt" then "lastCommentAt" else new."createdAt" end, version = version + 1 where old."postId" is not new."postId" and tenant = new.tenant and id = new."postId" and ("commentCount" is not "commentCount" + 1 or "lastCommentAt" is not case when new."createdAt" is null or "lastCommentAt" >= new."createdAt" then "lastCommentAt" else new."createdAt" end);
  update "posts" set "commentCount" = "commentCount", "lastCommentAt" = case when old."createdAt" is new."createdAt" then "lastCommentAt" when new."createdAt" is not null and ("lastCommentAt" is null or "lastCommentAt" <= new."createdAt") then new."createdAt" when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end, version = version + 1 where not (old."postId" is not new."postId") and tenant = new.tenant and id = new."postId" and ("commentCount" is not "commentCount" or "lastCommentAt" is not case when old."createdAt" is new."createdAt" then "lastCommentAt" when new."createdAt" is not null and ("lastCommentAt" is null or "lastCommentAt" <= new."createdAt") then new."createdAt" when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end);
END;
--> statement-breakpoint
CREATE TRIGGER "comments_after_delete" AFTER DELETE ON "comments" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'comments', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'comments', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
  update "posts" set "commentCount" = "commentCount" - 1, "lastCommentAt" = case when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end, version = version + 1 where tenant = old.tenant and id = old."postId" and ("commentCount" is not "commentCount" - 1 or "lastCommentAt" is not case when "lastCommentAt" is old."createdAt" then (select max(s."createdAt") from "comments" s where s.tenant = "posts".tenant and s."postId" = "posts".id) else "lastCommentAt" end);
END;
--> statement-breakpoint
CREATE TRIGGER "tags_keeps_key" BEFORE UPDATE OF tenant, id ON "tags" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'tags: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "tags_after_insert" AFTER INSERT ON "tags" BEGIN
  update "tags" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'tags: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'tags' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'tags' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'tags', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'name', t."name", 'postCount', t."postCount"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "tags" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'tags', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
  update "tags" set "postCount" = (select count(*) from "postTags" s where s.tenant = new.tenant and s."tagId" = new.id), version = version + 1 where tenant = new.tenant and id = new.id and ("postCount" is not (select count(*) from "postTags" s where s.tenant = new.tenant and s."tagId" = new.id));
END;
--> statement-breakpoint
CREATE TRIGGER "tags_after_update" AFTER UPDATE ON "tags" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."name" is not new."name" or old."postCount" is not new."postCount") and not (new.version = -old.version and old.version > 0 and not (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."name" is not new."name")) BEGIN
  update "tags" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  update "tags" set "postCount" = iif((new.version is old.version and old."postCount" is not new."postCount"), (select count(*) from "postTags" s where s.tenant = new.tenant and s."tagId" = new.id), "postCount"), version = -version where ((new.version is old.version and old."postCount" is not new."postCount")) and tenant = new.tenant and id = new.id and (((new.version is old.version and old."postCount" is not new."postCount") and "postCount" is not (select count(*) from "postTags" s where s.tenant = new.tenant and s."tagId" = new.id)));
  update "tags" set version = -version where ((new.version is old.version and old."postCount" is not new."postCount")) and tenant = new.tenant and id = new.id and version < 0;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'tags', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'name', t."name", 'postCount', t."postCount"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."name" is not t."name", ',"name"', '') || iif(old."postCount" is not t."postCount", ',"postCount"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "tags" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'tags', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
END;
--> statement-breakpoint
CREATE TRIGGER "tags_after_delete" AFTER DELETE ON "tags" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'tags', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'tags', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
END;
--> statement-breakpoint
CREATE TRIGGER "postTags_keeps_key" BEFORE UPDATE OF tenant, id ON "postTags" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, 'postTags: the tenant and the id of a record never change');
END;
--> statement-breakpoint
CREATE TRIGGER "postTags_after_insert" AFTER INSERT ON "postTags" BEGIN
  update "postTags" set version = (select case operation when 'delete' then version + 1 else raise(abort, 'postTags: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON') end from changes where tenant = new.tenant and resource = 'postTags' and id = new.id order by seq desc limit 1) where exists (select 1 from changes where tenant = new.tenant and resource = 'postTags' and id = new.id order by seq desc limit 1) and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'postTags', t.id, 'create', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'postId', t."postId", 'tagId', t."tagId"), null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "postTags" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'postTags', last_insert_rowid(), 1) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows + 1;
  update "tags" set "postCount" = "postCount" + 1, version = version + 1 where tenant = new.tenant and id = new."tagId" and ("postCount" is not "postCount" + 1);
END;
--> statement-breakpoint
CREATE TRIGGER "postTags_after_update" AFTER UPDATE ON "postTags" WHEN (old."id" is not new."id" or old."createdAt" is not new."createdAt" or old."updatedAt" is not new."updatedAt" or old."postId" is not new."postId" or old."tagId" is not new."tagId") BEGIN
  update "postTags" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id;
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select t.tenant, 'postTags', t.id, 'update', t.version, json_object('id', t."id", 'version', t."version", 'createdAt', t."createdAt", 'updatedAt', t."updatedAt", 'postId', t."postId", 'tagId', t."tagId"), '[' || substr(iif(old."id" is not t."id", ',"id"', '') || iif(old."createdAt" is not t."createdAt", ',"createdAt"', '') || iif(old."postId" is not t."postId", ',"postId"', '') || iif(old."tagId" is not t."tagId", ',"tagId"', ''), 2) || ']', c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from "postTags" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id;
  insert into heads(tenant, resource, seq, rows) values (new.tenant, 'postTags', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ;
  update "tags" set "postCount" = "postCount" - 1, version = version + 1 where old."tagId" is not new."tagId" and tenant = old.tenant and id = old."tagId" and ("postCount" is not "postCount" - 1);
  update "tags" set "postCount" = "postCount" + 1, version = version + 1 where old."tagId" is not new."tagId" and tenant = new.tenant and id = new."tagId" and ("postCount" is not "postCount" + 1);
END;
--> statement-breakpoint
CREATE TRIGGER "postTags_after_delete" AFTER DELETE ON "postTags" BEGIN
  insert into changes(tenant, resource, id, operation, version, image, changed, actor, request, time) select old.tenant, 'postTags', old.id, 'delete', old.version + 1, null, null, c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) from (select 1) left join context c on c.one = 1;
  insert into heads(tenant, resource, seq, rows) values (old.tenant, 'postTags', last_insert_rowid(), 0) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows - 1;
  update "tags" set "postCount" = "postCount" - 1, version = version + 1 where tenant = old.tenant and id = old."tagId" and ("postCount" is not "postCount" - 1);
END;
