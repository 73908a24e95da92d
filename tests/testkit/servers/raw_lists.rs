//! The lists in a Redis as any of its clients sees them.

use super::Redis;
use serde_json::Value;

impl Redis {
    /// The raw lists of guests, in their order.
    pub async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>> {
        let script = "local all = {}
            for i, key in ipairs(KEYS) do all[i] = cjson.encode(redis.call('LRANGE', key, 0, -1)) end
            return all";
        let count = guests.len().to_string();
        let keys: Vec<_> = guests
            .iter()
            .map(|guest| format!("guest:{guest}"))
            .collect();
        let mut words = vec!["EVAL", script, &count];
        words.extend(keys.iter().map(String::as_str));
        let told = self.command(&words).await;
        let item = |item: &Value| serde_json::from_str(item.as_str().unwrap()).unwrap();
        let list =
            |line: &str| match serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")) {
                Value::Array(items) => items.iter().map(item).collect(),
                _ => Vec::new(), // Lua has one empty table for both
            };
        let lists: Vec<_> = told
            .lines()
            .filter(|line| !line.is_empty())
            .map(list)
            .collect();
        assert_eq!(lists.len(), guests.len(), "{told}");
        lists
    }

    /// The guests that have a list.
    pub async fn listed_guests(&self) -> Vec<String> {
        let keys = self.command(&["KEYS", "guest:*"]).await;
        let guests = keys.lines().filter_map(|key| key.strip_prefix("guest:"));
        guests.map(str::to_owned).collect()
    }
}
