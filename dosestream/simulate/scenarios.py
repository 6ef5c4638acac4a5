"""The stories by name: each a rule of reconciliation in the flesh, what happens to one patient and its true answer.

A story plays on a `Hospital` from the time `at` (microseconds since 1970 UTC) in one room. The day is made of
them; the tests play them one by one.
"""

from collections.abc import Callable, Mapping

from dosestream.simulate import order_stories, patient_stories, report_stories
from dosestream.simulate.hospital import Hospital
from dosestream.simulate.procedures import Room

Story = Callable[[Hospital, Room, int], None]

SCENARIOS: Mapping[str, Story] = {
    story.__name__: story
    for story in (
        order_stories.order_then_study,
        order_stories.study_then_order,
        patient_stories.study_before_registration,
        order_stories.held_order,
        order_stories.late_schedule,
        report_stories.study_uid_only,
        report_stories.accession_of_own_uid,
        report_stories.order_number,
        report_stories.report_without_patient,
        patient_stories.update_after_both,
        patient_stories.update_held,
        patient_stories.merge_before_both,
        patient_stories.merge_after_both,
        patient_stories.merge_chain,
        patient_stories.changed_identifier,
        order_stories.cancel,
        order_stories.cancel_by_placer,
        order_stories.cancel_after_study,
        order_stories.discontinued,
        order_stories.no_show,
        order_stories.no_show_told,
        order_stories.moved_appointment,
        order_stories.placed_only,
        report_stories.order_never_came,
        report_stories.nothing_but_patient,
        report_stories.nobody,
        report_stories.wrong_worklist_entry,
        report_stories.wrong_entry_then_right,
        order_stories.corrected_procedure,
        order_stories.corrected_afterwards,
        order_stories.one_study_for_two_orders,
        order_stories.two_orders_in_one_message,
        report_stories.growing_reports,
        report_stories.continued_report,
        report_stories.resent_report,
        report_stories.image_without_report,
        patient_stories.report_fills_blank,
        patient_stories.cleared_birth_date,
        patient_stories.order_only_patient,
        order_stories.doubled_messages,
    )
}
