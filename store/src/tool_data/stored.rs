//! Keys and values under which rows and results are stored outside the journal.
//!
//! ```text
//!   key:    'r' or 'k' | length of the tool's name u16 (big endian) | name | row or idempotency key
//!   value:  version u16 | body        as everything in codec.rs
//! ```

use crane_core::{Json, RunId};

use super::{Item, Remembered, ToolData};
use crate::schema::v1;
use crate::{Error, codec};

const ROW: u8 = b'r';
const RESULT: u8 = b'k';

/// A key, and its value or `None` when it is to be removed.
pub type StoredItem = (Vec<u8>, Option<Vec<u8>>);

impl ToolData {
    /// Everything that has changed since the last call, by key. When writing it fails, give it
    /// back with [`ToolData::mark_dirty`].
    pub fn take_dirty(&mut self) -> Vec<StoredItem> {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|item| (item.to_key(), self.stored(&item)))
            .collect()
    }

    /// Notes again what [`ToolData::take_dirty`] returned and could not be written; keys that it
    /// did not return are ignored.
    pub fn mark_dirty<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) {
        self.dirty
            .extend(keys.into_iter().filter_map(Item::from_key));
    }

    /// Takes in what was stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Schema`] when key or value do not decode.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let item = Item::from_key(key).ok_or_else(|| Error::Corrupt {
            file: "tool data".to_owned(),
            offset: 0,
            detail: format!("the key {key:02x?} is malformed"),
        })?;
        match item {
            Item::Row { tool, row } => {
                let stored: v1::ToolRow<'_> = codec::get_versioned("tool row", value)?;
                let name = self.name(&tool);
                let data = self.tools.entry(name).or_default();
                data.set_row(&row, Some(Json::from_trusted(stored.value)));
            }
            Item::Result { tool, key } => {
                let stored: v1::ToolResult<'_> = codec::get_versioned("tool result", value)?;
                self.order = self.order.max(stored.order.saturating_add(1));
                let remembered = Remembered {
                    run: stored.run.map(RunId::from_bytes),
                    order: stored.order,
                    value: Json::from_trusted(stored.value),
                };
                let name = self.name(&tool);
                self.remember(&name, key, remembered);
            }
        }
        Ok(())
    }

    /// The stored form of an item; `None` when it is no more.
    fn stored(&self, item: &Item) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        match item {
            Item::Row { tool, row } => {
                let row = self.tools.get(tool)?.rows.get(row)?;
                codec::put(
                    &v1::ToolRow {
                        value: row.as_str(),
                    },
                    &mut value,
                );
            }
            Item::Result { tool, key } => {
                let result = self.tools.get(tool)?.results.get(key)?;
                let stored = v1::ToolResult {
                    run: result.run.map(RunId::to_bytes),
                    order: result.order,
                    value: result.value.as_str(),
                };
                codec::put(&stored, &mut value);
            }
        }
        Some(value)
    }
}

impl Item {
    fn to_key(&self) -> Vec<u8> {
        let (kind, tool, name) = match self {
            Self::Row { tool, row } => (ROW, tool, row),
            Self::Result { tool, key } => (RESULT, tool, key),
        };
        let mut key = Vec::with_capacity(3 + tool.len() + name.len());
        key.push(kind);
        // Names were checked to be far shorter.
        key.extend_from_slice(&u16::try_from(tool.len()).unwrap_or(u16::MAX).to_be_bytes());
        key.extend_from_slice(tool.as_bytes());
        key.extend_from_slice(name.as_bytes());
        key
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let (prefix, rest) = key.split_first_chunk::<3>()?;
        let length = u16::from_be_bytes([prefix[1], prefix[2]]);
        let (tool, name) = rest.split_at_checked(length.into())?;
        let tool = str::from_utf8(tool).ok()?.into();
        let name = str::from_utf8(name).ok()?.into();
        match prefix[0] {
            ROW => Some(Self::Row { tool, row: name }),
            RESULT => Some(Self::Result { tool, key: name }),
            _ => None,
        }
    }
}
