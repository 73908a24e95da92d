//! The contract of a backend, as laws: what is true of one is true of all of them. Each law is one function that gets two
//! fresh stores and speaks to them only through the traits; every pair of stores runs every law as a test of its own.
//!
//! To run all of them on a new backend: [`contract!`]. A law that it does not list is reported by tests/repo_lint.

#![allow(missing_docs, clippy::unwrap_used)] // a test may fail; the name of a law says what it is

pub mod audit;
pub mod clock;
pub mod corpus;
pub mod current;
pub mod erase;
pub mod expiry;
pub mod history;
pub mod ids;
pub mod lists;
pub mod migrate;
pub mod outbox;
pub mod prompts;
pub mod record;
pub mod retention;
pub mod search;
pub mod settings;
pub mod stores;
pub mod text;
pub mod vectors;
pub mod words;

use guestbook_storage::{ListCache, Stores};
use std::sync::Arc;

/// Two fresh, empty stores.
pub struct Fixture {
    /// The tables.
    pub database: Stores,
    /// The session lists.
    pub lists: Arc<dyn ListCache>,
    /// Whether the list store expires by its own clock, so that there is nothing to sweep.
    pub lists_expire_themselves: bool,
}

/// One test for each law.
#[macro_export]
#[doc(hidden)]
macro_rules! tests {
    ($open:path; $($laws:ident with $settings:ident { $($law:ident,)* })*) => {
        $(mod $laws {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $law() {
                let (_guard, fixture) = $open($crate::words::$settings()).await;
                $crate::$laws::$law(&fixture).await;
            })*
        })*
    };
}

/// Every law, for one pair of stores: `contract!(name, open)`, where `open` is an async function from [`TableSettings`] to a guard,
/// which cleans up when it is dropped, and a [`Fixture`].
///
/// [`TableSettings`]: guestbook_storage::database::TableSettings
#[macro_export]
macro_rules! contract {
    ($pair:ident, $open:path) => {
        mod $pair {
            $crate::tests! {
                $open;
                record with forever {
                    a_first_message_begins_every_row,
                    a_second_message_updates_the_rows,
                    guests_share_nothing,
                    sequences_are_dense_under_32_writers,
                    outcomes_come_in_the_order_of_the_groups,
                    an_empty_batch_is_no_error,
                    a_repeated_id_is_replayed_and_stores_nothing,
                    a_replay_says_created_only_of_the_first_message,
                    an_id_with_other_content_conflicts_and_stores_nothing_of_its_group,
                    a_replay_has_the_same_metadata_and_the_time_if_it_has_one,
                    a_group_is_whole_or_not_at_all,
                    a_group_may_be_part_new_and_part_repeated,
                    parts_under_one_key_are_all_new_or_all_repeated,
                    an_id_repeated_within_a_group_is_stored_once,
                    an_id_repeated_within_a_batch_is_stored_once,
                    a_refused_group_leaves_its_other_ids_free,
                    an_unannounced_repetition_fails_the_whole_batch,
                    the_hash_chain_covers_every_message,
                    the_title_is_the_first_user_message,
                    a_title_is_one_line_and_ends_between_characters,
                    a_message_is_returned_as_it_was_sent,
                    a_large_batch_is_stored_like_a_small_one,
                }
                history with forever {
                    an_unknown_chat_has_no_history,
                    pages_go_up_from_a_sequence,
                    pages_go_down_below_a_sequence_in_ascending_order,
                    a_chat_is_read_by_guest_and_by_conversation,
                    the_sizes_of_a_page_are_those_of_its_messages,
                    a_users_conversations_come_newest_first,
                    a_guests_chat_is_no_users,
                }
                current with a_week {
                    only_a_database_of_one_process_knows_what_is_current,
                    a_page_is_current_no_more_when_a_message_is_answered,
                    a_page_is_current_no_more_when_its_chat_is_erased_or_migrated,
                    a_page_is_current_no_more_when_its_row_is_mended,
                    a_page_is_current_no_more_when_retention_has_removed_its_chat,
                    a_page_stays_current_while_others_write,
                    nothing_is_current_in_a_closed_database,
                }
                erase with forever {
                    erase_leaves_nothing_and_repeats_as_zeros,
                    erase_of_an_unknown_guest_is_zeros_and_owes_nothing,
                    an_erased_guest_begins_anew,
                    erase_owes_the_removal_of_the_list,
                    a_new_message_does_not_pay_a_removal,
                    erase_spares_what_the_same_id_owns_as_a_user,
                    erase_keeps_the_count_of_entries_true,
                }
                migrate with forever {
                    a_migrated_chat_is_the_users,
                    migrating_again_is_zeros,
                    migrate_keeps_every_counter,
                    migrate_leaves_the_requests_of_another_month_behind,
                    migrating_to_the_same_id_keeps_the_counters,
                    migrating_a_guest_who_is_also_a_user_takes_only_the_guests_part,
                    migrated_mappings_change_owner_and_are_not_synced,
                    a_migrated_list_is_owed_its_removal_and_nothing_else,
                    a_migrated_guest_begins_anew,
                    a_message_is_replayed_also_after_its_migration,
                    a_failed_migration_moves_nothing,
                }
                expiry with forever {
                    each_message_prolongs_the_list,
                    a_silence_of_the_ttl_starts_the_list_anew,
                    a_list_begun_anew_has_lost_the_older_messages,
                    a_list_is_live_until_its_expiry_and_not_at_it,
                    an_expired_list_is_no_longer_synced,
                    an_expired_list_begins_anew_with_the_next_message,
                    lapse_takes_at_most_what_it_is_asked_for,
                    a_replay_tells_what_its_list_has_now,
                }
                clock with forever {
                    a_clock_set_back_takes_no_promise_back,
                    a_clock_that_was_far_ahead_binds_for_one_ttl_more,
                    messages_keep_their_order_whatever_their_ids_and_times,
                    entries_are_counted_right_when_an_hour_comes_again,
                    a_clock_over_the_edge_of_a_month_and_back_counts_right_from_then_on,
                }
                retention with a_week {
                    each_message_prolongs_the_chat,
                    retention_hides_at_once_and_expire_removes,
                    expire_spares_what_is_still_kept,
                    expire_takes_at_most_what_it_is_asked_for,
                    a_message_after_the_end_begins_a_new_chat,
                    an_id_from_before_the_end_is_a_new_message,
                    a_migrated_chat_is_kept_for_ever,
                    what_retention_has_ended_cannot_be_migrated,
                    what_retention_has_ended_is_not_found,
                }
                outbox with forever {
                    is_synced_only_after_mark_synced,
                    what_is_synced_rides_on_a_batch,
                    what_is_synced_includes_everything_before_it,
                    an_outbox_entry_stands_until_everything_is_synced,
                    outbox_entries_come_page_by_page_in_order,
                    removals_come_first_and_count_for_the_limit,
                    list_rows_are_every_live_list_in_order,
                    the_lists_incarnation_is_remembered,
                    the_epoch_stays,
                }
                ids with a_week {
                    the_same_id_of_two_guests_is_stored_for_both,
                    a_free_uuid_is_the_messages_own_and_any_other_text_stands_beside,
                    an_id_beside_is_repeated_and_contradicted_like_any_other,
                    one_batch_of_many_guests_may_have_one_id,
                    guests_that_send_one_id_at_once_are_all_answered,
                    an_id_beside_stays_when_the_other_guest_is_erased,
                    an_erased_id_may_be_sent_again,
                    what_retention_has_ended_is_in_nobodys_way,
                    a_message_sent_again_after_signing_up_is_replayed,
                    a_new_chat_after_signing_up_has_ids_of_its_own,
                    a_group_says_one_thing_under_an_id,
                    fewer_messages_under_a_key_are_another_request,
                    every_reader_is_shown_the_id_that_was_sent,
                }
                vectors with forever {
                    a_vector_is_stored_with_its_model,
                    the_receipt_and_the_replay_say_what_became_of_the_vector,
                    why_there_is_no_vector_is_noted,
                    pending_and_missing_are_told_apart,
                    a_pending_vector_is_listed_until_it_comes,
                    a_retry_stays_pending_and_keeps_its_cause,
                    a_failed_vector_is_missing_but_not_pending,
                    a_text_known_to_have_no_vector_is_not_missing,
                    another_models_vector_is_missing_and_replaced,
                    a_vector_of_this_model_is_not_lost_to_a_late_failure,
                    missing_vectors_come_page_by_page_in_order,
                    a_vector_of_a_deleted_message_is_passed_over,
                }
                search with forever {
                    the_nearest_vectors_are_found_the_nearest_first,
                    a_hit_is_the_message_as_it_was_stored,
                    of_equal_scores_the_newer_comes_first,
                    vectors_of_other_models_are_never_compared,
                    a_message_without_a_vector_is_counted_and_not_compared,
                    a_text_is_found_by_all_of_its_words,
                    guests_and_users_find_their_own_only,
                    a_users_conversations_are_searched_together,
                    what_was_erased_is_not_found_in_the_moment_after,
                    a_long_chat_is_searched_to_its_beginning,
                    all_conversations_are_searched_for_words_only_with_an_index,
                    a_context_is_the_newest_that_fits,
                    a_context_has_what_is_relevant_among_the_older,
                    there_is_no_context_of_a_stranger,
                }
                corpus with a_week {
                    every_vector_of_a_model_comes_once_in_order_whatever_the_page,
                    an_indexable_row_is_what_was_stored,
                    what_is_deleted_is_indexed_no_more,
                    candidates_come_in_the_order_of_the_proposal_with_everything,
                    candidates_are_of_the_platform_that_is_asked_for,
                    what_retention_has_ended_is_no_candidate,
                    all_messages_can_be_searched_but_those_that_say_nothing,
                    what_others_have_stored_is_found_by_its_time,
                }
                text with indexed {
                    words_are_found_in_all_conversations_the_newest_first,
                    messages_of_one_moment_come_in_the_order_of_their_places,
                    words_are_the_same_as_within_a_chat,
                    what_is_deleted_or_has_ended_is_not_found,
                    words_are_narrowed_by_role_platform_and_time,
                    a_hit_is_found_below_any_number_of_near_ones,
                    no_message_is_too_much_for_the_index,
                }
                prompts with forever {
                    an_answer_comes_back_as_it_was_kept,
                    answers_come_in_the_order_of_the_keys,
                    an_answer_never_leaves_its_scope_its_context_or_its_setting,
                    settings_that_are_not_given_are_found_as_such,
                    a_later_answer_takes_the_place_and_keeps_the_hits,
                    an_answer_is_good_until_its_end_and_not_at_it,
                    expiring_takes_at_most_what_it_is_asked_for,
                    near_prompts_are_of_one_model_the_last_used_first,
                    the_least_recently_used_are_evicted,
                    a_use_noted_late_does_not_make_an_answer_older,
                    a_scope_is_removed_and_no_other,
                    erasing_a_guest_removes_what_was_kept_for_it_alone,
                    a_guest_who_becomes_a_user_leaves_no_answers,
                    a_guest_without_a_chat_who_becomes_a_user_leaves_no_answers,
                    lookups_are_counted_for_their_owner_and_the_sums_stay_right,
                    lookups_go_with_the_guest_to_the_user,
                    a_repair_of_usage_keeps_the_lookups,
                    a_message_costs_no_answer_and_an_answer_no_message,
                }
                audit with forever {
                    a_conversation_audit_holds_the_rows_as_they_are,
                    conversation_audits_come_page_by_page_each_whole,
                    a_guests_conversation_audits_include_those_a_user_owns_by_now,
                    usage_audits_are_everyone_in_order,
                    the_usage_of_a_stranger_is_zeros,
                    usage_tells_input_from_output,
                    the_month_rolls_over,
                    metrics_count_by_utc_hour,
                    reads_are_counted_once_wherever_they_were_deferred,
                    counters_are_mended,
                    a_window_is_mended,
                    it_is_known_how_the_tables_are_served,
                    usage_is_mended_and_hits_are_kept,
                    a_lost_usage_row_is_mended_and_an_idle_one_removed,
                    a_mapping_is_mended,
                    metrics_that_are_right_stay_as_they_are,
                    what_is_gone_is_not_brought_back_by_a_repair,
                    a_busy_life_leaves_no_orphans,
                }
                lists with forever {
                    a_list_begins_and_goes_on,
                    an_append_repeated_is_already_there,
                    an_append_that_overlaps_adds_only_the_rest,
                    a_late_append_changes_nothing,
                    a_hole_is_refused,
                    a_list_of_other_rows_is_never_continued,
                    the_begin_of_a_window_replaces_a_list_of_other_rows,
                    a_window_begun_anew_drops_the_older_items,
                    older_items_are_dropped_by_an_append_in_passing,
                    answers_come_in_the_order_of_the_appends,
                    a_list_is_hidden_from_its_expiry_on,
                    an_append_prolongs_the_list,
                    replace_makes_the_list_exactly_so,
                    a_replaced_list_goes_on,
                    items_are_returned_as_they_were_given,
                    a_list_is_read_part_by_part,
                    a_part_of_a_list_is_as_long_as_its_bytes_allow,
                    heads_come_in_the_order_asked_for,
                    a_removed_list_is_gone_and_no_other,
                    swept_lists_are_gone_and_live_ones_stay,
                    guests_come_page_by_page_in_order,
                    the_incarnation_stays,
                    appends_of_32_writers_do_not_mix,
                }
                settings with forever {
                    what_is_served_with_is_stored,
                    a_changed_life_holds_for_the_next_message,
                    a_longer_life_holds_for_every_live_list_and_brings_none_back,
                    a_shorter_life_ends_the_lists_that_are_older,
                    what_was_asked_for_and_not_noted_is_asked_for_again,
                    a_page_from_before_another_change_changes_nothing,
                    a_message_that_comes_between_asking_and_noting_counts,
                    a_changed_retention_holds_for_every_chat,
                    each_change_is_known_by_a_higher_number,
                    a_list_gets_another_expiry_unless_it_has_gone_on,
                }
                stores with forever {
                    an_open_store_is_well_and_has_a_name,
                    a_database_counts_its_messages,
                    a_closed_database_refuses_everything,
                    closed_lists_refuse_everything,
                }
            }
        }
    };
}
