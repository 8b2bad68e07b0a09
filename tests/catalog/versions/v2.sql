PRAGMA user_version = 2;
PRAGMA application_id = 1952936804;
BEGIN TRANSACTION;
CREATE TABLE cache_metadata (
    video_id         TEXT    NOT NULL REFERENCES videos ON DELETE CASCADE,  -- whose segment
    revision         INTEGER NOT NULL,   -- of which revision
    rendition        TEXT    NOT NULL,   -- the rendition's name
    segment_filename TEXT    NOT NULL,   -- such as segment_0000.ts
    cached_at        REAL    NOT NULL,   -- when it last came into the cache
    access_count     INTEGER NOT NULL,   -- how often it was asked for
    last_accessed    REAL    NOT NULL,   -- when it was last asked for
    cache_size       INTEGER NOT NULL,   -- bytes it takes in the cache
    PRIMARY KEY (video_id, revision, rendition, segment_filename)
) STRICT, WITHOUT ROWID;
INSERT INTO "cache_metadata" VALUES('film',1,'main','segment_0000.ts',1.0,2,3.0,1000);
INSERT INTO "cache_metadata" VALUES('other',1,'main','segment_0000.ts',1.0,2,3.0,1000);
CREATE TABLE document_files (
    document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,  -- which document
    bot_id      INTEGER NOT NULL,                                         -- the bot's id, never its position
    file_id     TEXT    NOT NULL,                                         -- the file_id of that bot
    PRIMARY KEY (document_id, bot_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "document_files" VALUES(1,11,'file-10-of-11');
INSERT INTO "document_files" VALUES(1,12,'file-10-of-12');
INSERT INTO "document_files" VALUES(2,11,'file-11-of-11');
INSERT INTO "document_files" VALUES(2,12,'file-11-of-12');
INSERT INTO "document_files" VALUES(3,11,'file-15-of-11');
INSERT INTO "document_files" VALUES(3,12,'file-15-of-12');
INSERT INTO "document_files" VALUES(4,11,'file-20-of-11');
INSERT INTO "document_files" VALUES(4,12,'file-20-of-12');
INSERT INTO "document_files" VALUES(5,11,'file-21-of-11');
INSERT INTO "document_files" VALUES(5,12,'file-21-of-12');
INSERT INTO "document_files" VALUES(6,11,'file-25-of-11');
INSERT INTO "document_files" VALUES(6,12,'file-25-of-12');
CREATE TABLE documents (
    document_id    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    rendition_id   INTEGER REFERENCES renditions ON DELETE CASCADE,  -- whose stream; NULL for an extra
    extra_id       INTEGER UNIQUE REFERENCES extras ON DELETE CASCADE,  -- which extra; NULL for a stream
    number         INTEGER NOT NULL CHECK (number >= 0),       -- counts up in its rendition; 0 for an extra
    byte_offset    INTEGER NOT NULL CHECK (byte_offset >= 0),  -- where it begins in the stream; 0 for an extra
    length         INTEGER NOT NULL CHECK (length >= 0),       -- bytes of the stream in it
    size           INTEGER NOT NULL CHECK (size >= length),    -- bytes stored; more than length only where a resumed
                                                               -- transcode went on in the middle of it
    sha256         TEXT    NOT NULL,                           -- of all bytes stored, 64 hex digits
    chat_id        INTEGER NOT NULL,                           -- Telegram chat; 0 in a directory store
    message_id     INTEGER NOT NULL,                           -- message in that chat; 0 in a directory store
    file_unique_id TEXT    NOT NULL,                           -- Telegram's, the same for all bots; a path otherwise
    uploaded_at    REAL    NOT NULL,                           -- when it was recorded as stored
    verified_at    REAL,                                       -- when it was last read back and matched; or NULL
    CHECK ((rendition_id IS NULL) <> (extra_id IS NULL)),
    UNIQUE (rendition_id, number),
    UNIQUE (rendition_id, byte_offset)
) STRICT;
INSERT INTO "documents" VALUES(1,1,NULL,0,0,4000,4000,'000000000000000000000000000000000000000000000000000000000000000a',-1001234567890,110,'unique-10',1700000000.5,NULL);
INSERT INTO "documents" VALUES(2,1,NULL,1,4000,4000,4000,'000000000000000000000000000000000000000000000000000000000000000b',-1001234567890,111,'unique-11',1700000000.5,NULL);
INSERT INTO "documents" VALUES(3,NULL,1,0,0,4000,4000,'000000000000000000000000000000000000000000000000000000000000000f',-1001234567890,115,'unique-15',1700000000.5,NULL);
INSERT INTO "documents" VALUES(4,2,NULL,0,0,4000,4000,'0000000000000000000000000000000000000000000000000000000000000014',-1001234567890,120,'unique-20',1700000000.5,NULL);
INSERT INTO "documents" VALUES(5,2,NULL,1,4000,4000,4000,'0000000000000000000000000000000000000000000000000000000000000015',-1001234567890,121,'unique-21',1700000000.5,NULL);
INSERT INTO "documents" VALUES(6,NULL,2,0,0,4000,4000,'0000000000000000000000000000000000000000000000000000000000000019',-1001234567890,125,'unique-25',1700000000.5,NULL);
CREATE TABLE extras (
    extra_id INTEGER NOT NULL PRIMARY KEY,  -- its number in this catalog
    video_id TEXT    NOT NULL,   -- whose extra
    revision INTEGER NOT NULL,   -- of which revision
    name     TEXT    NOT NULL,   -- the ending behind the published base name, such as .en.srt
    UNIQUE (video_id, revision, name),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;
INSERT INTO "extras" VALUES(1,'film',1,'.en.srt');
INSERT INTO "extras" VALUES(2,'other',1,'.en.srt');
CREATE TABLE intents (
    intent_id  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    library_id TEXT    NOT NULL,   -- the label's library_id
    video_id   TEXT    NOT NULL,   -- whose document
    revision   INTEGER NOT NULL,   -- of which revision
    rendition  TEXT    NOT NULL,   -- the rendition's name, or "extra"
    number     INTEGER NOT NULL,   -- the document's number
    size       INTEGER NOT NULL,   -- bytes
    sha256     TEXT    NOT NULL,   -- 64 hex digits
    filename   TEXT    NOT NULL,   -- for an extra its name, else empty
    bot_id     INTEGER NOT NULL,   -- the bot that sends
    chat_id    INTEGER NOT NULL,   -- the chat it sends to
    begun_at   REAL    NOT NULL    -- when
) STRICT;
INSERT INTO "intents" VALUES(1,'0123456789abcdef','film',1,'main',9,4000,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','',11,-5,1700000000.5);
INSERT INTO "intents" VALUES(2,'0123456789abcdef','other',1,'main',9,4000,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','',11,-5,1700000000.5);
INSERT INTO "intents" VALUES(3,'0123456789abcdef','gone',1,'main',9,4000,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','',11,-5,1700000000.5);
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,  -- "library_id": 16 random hex digits, given at birth
    value TEXT NOT NULL               -- its value
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('library_id','f0f0f0f0f0f0f0f0');
CREATE TABLE owed_deletion_files (
    deletion_id INTEGER NOT NULL REFERENCES owed_deletions ON DELETE CASCADE,  -- which deletion
    bot_id      INTEGER NOT NULL,                                              -- as in document_files
    file_id     TEXT    NOT NULL,                                              -- as in document_files
    PRIMARY KEY (deletion_id, bot_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "owed_deletion_files" VALUES(1,11,'file-35-of-11');
INSERT INTO "owed_deletion_files" VALUES(1,12,'file-35-of-12');
INSERT INTO "owed_deletion_files" VALUES(2,11,'file-30-of-11');
INSERT INTO "owed_deletion_files" VALUES(2,12,'file-30-of-12');
INSERT INTO "owed_deletion_files" VALUES(3,11,'file-31-of-11');
INSERT INTO "owed_deletion_files" VALUES(3,12,'file-31-of-12');
CREATE TABLE owed_deletions (
    deletion_id    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- oldest first
    chat_id        INTEGER NOT NULL,   -- as in documents
    message_id     INTEGER NOT NULL,   -- as in documents
    file_unique_id TEXT    NOT NULL,   -- as in documents
    size           INTEGER NOT NULL,   -- as in documents
    sha256         TEXT    NOT NULL,   -- as in documents
    UNIQUE (chat_id, message_id, file_unique_id)
) STRICT;
INSERT INTO "owed_deletions" VALUES(1,-1001234567890,135,'unique-35',4000,'0000000000000000000000000000000000000000000000000000000000000023');
INSERT INTO "owed_deletions" VALUES(2,-1001234567890,130,'unique-30',4000,'000000000000000000000000000000000000000000000000000000000000001e');
INSERT INTO "owed_deletions" VALUES(3,-1001234567890,131,'unique-31',4000,'000000000000000000000000000000000000000000000000000000000000001f');
CREATE TABLE published_files (
    path       TEXT NOT NULL PRIMARY KEY,                           -- absolute
    video_id   TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,   -- whose file
    sha256     TEXT NOT NULL,                                       -- of its contents, 64 hex digits
    updated_at REAL NOT NULL                                        -- when it was last recorded
) STRICT, WITHOUT ROWID;
INSERT INTO "published_files" VALUES('/library/film.strm','film','',1700000000.5);
INSERT INTO "published_files" VALUES('/library/other.strm','other','ab',1700000000.5);
CREATE TABLE rendition_segments (
    rendition_id  INTEGER NOT NULL REFERENCES renditions ON DELETE CASCADE,   -- whose stream
    segment_order INTEGER NOT NULL CHECK (segment_order >= 0),                -- counts up from 0
    byte_offset   INTEGER NOT NULL CHECK (byte_offset >= 0),                  -- where it begins in the stream
    file_size     INTEGER NOT NULL CHECK (file_size > 0),                     -- its length
    start_time    REAL    NOT NULL,                                           -- seconds; time of its first frame
    duration      REAL    NOT NULL CHECK (duration >= 0),                     -- seconds; its EXTINF
    sha256        BLOB    NOT NULL CHECK (length(sha256) = 32),               -- raw
    discontinuity INTEGER NOT NULL DEFAULT 0 CHECK (discontinuity IN (0, 1)), -- EXT-X-DISCONTINUITY stands before it
    created_at    REAL    NOT NULL,  -- whole seconds, which take 4 bytes where a fraction takes 8
    updated_at    REAL    NOT NULL,  -- likewise
    PRIMARY KEY (rendition_id, segment_order)
) STRICT, WITHOUT ROWID;
INSERT INTO "rendition_segments" VALUES(1,0,0,1000,0.0,6.006,X'0000000000000000000000000000000000000000000000000000000000000000',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,1,1000,1000,6.006,6.006,X'0000000000000000000000000000000000000000000000000000000000000001',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,2,2000,1000,12.012,6.006,X'0000000000000000000000000000000000000000000000000000000000000002',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,3,3000,1000,18.018,6.006,X'0000000000000000000000000000000000000000000000000000000000000003',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,4,4000,1000,24.024,6.006,X'0000000000000000000000000000000000000000000000000000000000000004',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,5,5000,1000,30.03,6.006,X'0000000000000000000000000000000000000000000000000000000000000005',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,6,6000,1000,36.036,6.006,X'0000000000000000000000000000000000000000000000000000000000000006',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(1,7,7000,1000,42.042,6.006,X'0000000000000000000000000000000000000000000000000000000000000007',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,0,0,1000,0.0,6.006,X'0000000000000000000000000000000000000000000000000000000000000000',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,1,1000,1000,6.006,6.006,X'0000000000000000000000000000000000000000000000000000000000000001',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,2,2000,1000,12.012,6.006,X'0000000000000000000000000000000000000000000000000000000000000002',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,3,3000,1000,18.018,6.006,X'0000000000000000000000000000000000000000000000000000000000000003',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,4,4000,1000,24.024,6.006,X'0000000000000000000000000000000000000000000000000000000000000004',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,5,5000,1000,30.03,6.006,X'0000000000000000000000000000000000000000000000000000000000000005',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,6,6000,1000,36.036,6.006,X'0000000000000000000000000000000000000000000000000000000000000006',0,1700000000.0,1700000000.0);
INSERT INTO "rendition_segments" VALUES(2,7,7000,1000,42.042,6.006,X'0000000000000000000000000000000000000000000000000000000000000007',0,1700000000.0,1700000000.0);
CREATE TABLE renditions (
    rendition_id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,  -- counts up; never given twice
    video_id             TEXT    NOT NULL,               -- whose rendition
    revision             INTEGER NOT NULL,               -- of which revision
    name                 TEXT    NOT NULL,               -- "main", "audio-1": part of URLs
    kind                 TEXT    NOT NULL CHECK (kind IN ('main', 'audio')),        -- picture with sound, or sound
    container            TEXT    NOT NULL CHECK (container IN ('mpegts', 'fmp4')),  -- how the stream is packaged
    codecs               TEXT    NOT NULL DEFAULT '',    -- RFC 6381, such as avc1.640028,mp4a.40.2
    bandwidth            INTEGER NOT NULL DEFAULT 0,     -- peak bits per second (RFC 8216, 4.3.4.2)
    average_bandwidth    INTEGER NOT NULL DEFAULT 0,     -- average bits per second
    width                INTEGER NOT NULL DEFAULT 0,     -- pixels; 0 for sound
    height               INTEGER NOT NULL DEFAULT 0,     -- pixels; 0 for sound
    frame_rate           REAL    NOT NULL DEFAULT 0,     -- frames per second; 0 for sound
    language             TEXT,                           -- as the source says it
    title                TEXT,                           -- as the source says it
    is_default           INTEGER NOT NULL DEFAULT 0 CHECK (is_default IN (0, 1)),   -- players take it by themselves
    stream_length        INTEGER NOT NULL DEFAULT 0,     -- length of the whole stream; 0 until complete
    init_length          INTEGER NOT NULL DEFAULT 0,     -- length of the initialization section at its beginning
    duration             REAL    NOT NULL DEFAULT 0,     -- seconds; of the segments so far until complete
    independent_segments INTEGER NOT NULL DEFAULT 0 CHECK (independent_segments IN (0, 1)),  -- closed GOPs
    is_complete          INTEGER NOT NULL DEFAULT 0 CHECK (is_complete IN (0, 1)),  -- the stream's end is stored
    total_segments       INTEGER NOT NULL DEFAULT 0,     -- rows of it in rendition_segments, counted in the same
                                                         -- transaction: counting a million takes 50 ms
    created_at           REAL    NOT NULL,               -- when the row was made
    updated_at           REAL    NOT NULL,               -- when it last changed
    UNIQUE (video_id, revision, name),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;
INSERT INTO "renditions" VALUES(1,'film',1,'main','main','mpegts','',0,0,0,0,0.0,NULL,NULL,0,0,0,48.048,0,0,8,1700000000.5,1700000000.5);
INSERT INTO "renditions" VALUES(2,'other',1,'main','main','mpegts','',0,0,0,0,0.0,NULL,NULL,0,0,0,48.048,0,0,8,1700000000.5,1700000000.5);
CREATE TABLE revision_numbers (
    video_id TEXT    NOT NULL PRIMARY KEY,  -- of a video that exists, or existed
    last     INTEGER NOT NULL               -- the next revision gets the number after this
) STRICT, WITHOUT ROWID;
INSERT INTO "revision_numbers" VALUES('film',1);
INSERT INTO "revision_numbers" VALUES('gone',1);
INSERT INTO "revision_numbers" VALUES('other',1);
CREATE TABLE revisions (
    video_id        TEXT    NOT NULL REFERENCES videos ON DELETE CASCADE,  -- whose revision
    number          INTEGER NOT NULL CHECK (number >= 1),                  -- counts up from 1
    stage           TEXT    NOT NULL               -- how far it has come
                    CHECK (stage IN ('found', 'probed', 'stored', 'verified', 'published')),
    plan            TEXT,                          -- IngestPlan as JSON: what decides the bytes; NULL before probing
    error           TEXT,                          -- what failed in this stage; NULL when nothing did
    attempts        INTEGER NOT NULL DEFAULT 0,    -- how often it failed
    next_attempt_at REAL,                          -- when to try again; NULL: not planned
    source_path     TEXT    NOT NULL,              -- the source file's absolute path
    source_size     INTEGER NOT NULL,              -- its size
    source_mtime_ns INTEGER NOT NULL,              -- its modification time, nanoseconds
    source_inode    INTEGER NOT NULL,              -- its inode; 64 bits read as signed (mergerfs uses all of them)
    source_device   INTEGER NOT NULL,              -- its device; likewise
    source_hash     TEXT    NOT NULL,              -- sampled hash of its contents
    superseded_at   REAL,                          -- when another revision became the current one
    created_at      REAL    NOT NULL,              -- when the row was made
    updated_at      REAL    NOT NULL,              -- when it last changed
    PRIMARY KEY (video_id, number)
) STRICT;
INSERT INTO "revisions" VALUES('film',1,'published','{"renditions":[{"name":"main","kind":"main","container":"mpegts","streams":[{"index":0,"kind":"video","treatment":"copy","source_codec":"h264","codec":"h264","language":null,"title":null,"is_default":false,"channels":0,"reason":""},{"index":1,"kind":"audio","treatment":"transcode","source_codec":"dts","codec":"aac","language":"eng","title":"Director''s commentary","is_default":true,"channels":6,"reason":"players do not play DTS"}],"language":null,"title":null,"is_default":false},{"name":"audio-1","kind":"audio","container":"fmp4","streams":[],"language":"deu","title":"Ton","is_default":true}],"subtitles":[{"index":3,"codec":"subrip","suffix":".en.forced.srt"}],"left_out":[{"index":4,"what":"hdmv_pgs_subtitle","why":"bitmap \udcff \ud83c\udfac"}],"segment_target_s":6.0,"limits":{"document_max_bytes":19900000,"first_documents_bytes":[4000000,8000000],"max_waste":0.15},"encoder":"libx264","threads":4,"ffmpeg_version":"5.1.6","late_sound_s":1.5}',NULL,0,NULL,'/videos/Film.mkv',5000,1600000000123456789,7,66,'ab',NULL,1700000000.5,1700000000.5);
INSERT INTO "revisions" VALUES('other',1,'probed','{"renditions":[{"name":"main","kind":"main","container":"mpegts","streams":[{"index":0,"kind":"video","treatment":"copy","source_codec":"h264","codec":"h264","language":null,"title":null,"is_default":false,"channels":0,"reason":""},{"index":1,"kind":"audio","treatment":"transcode","source_codec":"dts","codec":"aac","language":"eng","title":"Director''s commentary","is_default":true,"channels":6,"reason":"players do not play DTS"}],"language":null,"title":null,"is_default":false},{"name":"audio-1","kind":"audio","container":"fmp4","streams":[],"language":"deu","title":"Ton","is_default":true}],"subtitles":[{"index":3,"codec":"subrip","suffix":".en.forced.srt"}],"left_out":[{"index":4,"what":"hdmv_pgs_subtitle","why":"bitmap \udcff \ud83c\udfac"}],"segment_target_s":6.0,"limits":{"document_max_bytes":19900000,"first_documents_bytes":[4000000,8000000],"max_waste":0.15},"encoder":"libx264","threads":4,"ffmpeg_version":"5.1.6","late_sound_s":1.5}','cut off',1,1700000600.0,'/videos/Film.mkv',5000,1600000000123456789,7,66,'ab',NULL,1700000000.5,1700000000.5);
CREATE TABLE source_releases (
    video_id TEXT    NOT NULL,   -- whose source file
    revision INTEGER NOT NULL,   -- the revision that was made of it
    owed_at  REAL    NOT NULL,   -- when it was noted
    done_at  REAL,               -- when the file had been moved or deleted; NULL while it is owed
    PRIMARY KEY (video_id, revision),
    FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE
) STRICT;
INSERT INTO "source_releases" VALUES('film',1,1700000000.5,NULL);
CREATE TABLE videos (
    video_id              TEXT    NOT NULL PRIMARY KEY,       -- [a-z0-9][a-z0-9._-]{0,99}; stable for ever
    original_filename     TEXT    NOT NULL,                   -- name of the source file when the video was created
    library               TEXT    NOT NULL,                   -- the configured library it belongs to
    source_path           TEXT    NOT NULL,                   -- where the newest source file stands or stood
    wanted                TEXT    NOT NULL DEFAULT 'published'    -- what the owner wants
                          CHECK (wanted IN ('published', 'withdrawn')),
    current_revision      INTEGER,                            -- the revision that plays; NULL while there is none
    capability_generation INTEGER NOT NULL DEFAULT 1,         -- raising it revokes the signed URLs given out
    -- The next four are derived from what follows, and kept by the program in the transaction that changes it: a
    -- view would read all segments for each list, a trigger would fire for each of a million rows.
    total_duration        REAL    NOT NULL DEFAULT 0,         -- seconds of the main rendition (as far as it is cut)
    total_segments        INTEGER NOT NULL DEFAULT 0,         -- media segments of the main rendition
    file_size             INTEGER NOT NULL DEFAULT 0,         -- size of the source file of that revision
    status                TEXT    NOT NULL DEFAULT 'processing'   -- active: something plays; error: nothing plays
                          -- and the last attempt failed; processing: neither
                          CHECK (status IN ('processing', 'active', 'error')),
    created_at            REAL    NOT NULL,                   -- when the row was made
    updated_at            REAL    NOT NULL                    -- when anything of the video last changed
) STRICT;
INSERT INTO "videos" VALUES('film','Film �.mkv','films','/videos/Film.mkv','published',1,1,48.048,8,5000,'active',1700000000.5,1700000000.5);
INSERT INTO "videos" VALUES('other','Film �.mkv','films','/videos/Film.mkv','published',NULL,1,48.048,8,5000,'error',1700000000.5,1700000000.5);
CREATE INDEX videos_by_source ON videos (source_path);
CREATE INDEX revisions_by_size ON revisions (source_size);
CREATE INDEX revisions_superseded ON revisions (superseded_at) WHERE superseded_at IS NOT NULL;
CREATE INDEX revisions_due ON revisions (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE VIEW segments AS
SELECT
    r.video_id,                                  -- whose segment
    r.revision,                                  -- of which revision
    r.name AS rendition,                         -- of which rendition
    printf('segment_%04d', s.segment_order)
        || CASE r.container WHEN 'mpegts' THEN '.ts' ELSE '.m4s' END AS filename,  -- segment_0000.ts
    s.segment_order,                             -- counts up from 0
    s.duration,                                  -- seconds
    s.file_size,                                 -- its length
    s.byte_offset,                               -- where it begins in the stream
    s.start_time,                                -- seconds
    lower(hex(s.sha256)) AS sha256,              -- 64 hex digits
    s.discontinuity,                             -- 1 after a join
    s.created_at,                                -- when the row was made
    s.updated_at                                 -- when it last changed
FROM rendition_segments AS s JOIN renditions AS r USING (rendition_id);
CREATE INDEX documents_by_message ON documents (chat_id, message_id);
CREATE TRIGGER documents_owe_deletion BEFORE DELETE ON documents
BEGIN
    INSERT INTO owed_deletions (chat_id, message_id, file_unique_id, size, sha256)
    VALUES (OLD.chat_id, OLD.message_id, OLD.file_unique_id, OLD.size, OLD.sha256)
    ON CONFLICT DO NOTHING;
    INSERT INTO owed_deletion_files (deletion_id, bot_id, file_id)
    SELECT o.deletion_id, f.bot_id, f.file_id
    FROM owed_deletions AS o JOIN document_files AS f
    WHERE o.chat_id = OLD.chat_id AND o.message_id = OLD.message_id
      AND o.file_unique_id = OLD.file_unique_id AND f.document_id = OLD.document_id
    ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER revisions_leave_videos AFTER DELETE ON revisions
BEGIN
    UPDATE videos SET current_revision = NULL
    WHERE video_id = OLD.video_id AND current_revision = OLD.number;
END;
CREATE INDEX intents_by_label ON intents (video_id, revision, rendition, number);
CREATE INDEX published_files_by_video ON published_files (video_id);
CREATE INDEX cache_metadata_by_use ON cache_metadata (last_accessed);
CREATE INDEX source_releases_owed ON source_releases (owed_at) WHERE done_at IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('renditions',3);
INSERT INTO "sqlite_sequence" VALUES('owed_deletions',3);
INSERT INTO "sqlite_sequence" VALUES('documents',9);
INSERT INTO "sqlite_sequence" VALUES('intents',3);
COMMIT;
