"""Questions that stop a machine until somebody answers them with AnswerVM."""

from __future__ import annotations

import asyncio

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.event_log import EventLog
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.question import Choice, PendingQuestion, Question
from vmops.numbers import whole_number


async def ask(vm: Machine, question: Question) -> Choice:
    """Show a question with the machine, and return what somebody answers.

    A machine whose extra configuration has ``msg.autoAnswer`` = TRUE takes the default.
    """
    options = vm.extra_config
    if options.take_bool("msg.autoAnswer"):
        return question.choices[question.default]
    vm.questions_asked += 1
    pending = PendingQuestion(
        id=str(vm.questions_asked),
        question=question,
        answer=asyncio.get_running_loop().create_future(),
    )
    vm.pending_question = pending
    vm.publish({"runtime.question": _info(pending)})
    event = vim.event.VmMessageEvent(template=False, message=question.text)
    vm.kernel.service(EventLog).post(event, vm, f"Message on {vm.name}: {question.text}")
    try:
        return question.choices[await pending.answer]
    finally:
        vm.pending_question = None
        vm.publish({"runtime.question": None})


def answer(vm: Machine, question_id: str, choice: str) -> None:
    """Answer the question that is pending; see VirtualMachine.AnswerVM.

    Raises:
        vim.fault.ConcurrentAccess: it has been answered.
        vmodl.fault.InvalidArgument: the machine asks no such question, or knows no such answer.
    """
    pending = vm.pending_question
    if pending is None or pending.id != question_id:
        if whole_number(question_id, vm.questions_asked):
            raise vim.fault.ConcurrentAccess(msg="The question has been answered.")
        raise invalid_argument("questionId", "The machine asks no such question.")
    if choice not in {str(key) for key in range(len(pending.question.choices))}:
        raise invalid_argument("answerChoice", "It is not the key of a choice.")
    if pending.answer.done():
        raise vim.fault.ConcurrentAccess(msg="The question has been answered.")
    pending.answer.set_result(int(choice))


def _info(pending: PendingQuestion) -> vim.vm.QuestionInfo:
    question = pending.question
    choices = [
        vim.ElementDescription(key=str(key), label=choice.label, summary=choice.summary)
        for key, choice in enumerate(question.choices)
    ]
    return vim.vm.QuestionInfo(
        id=pending.id,
        text=f"{question.message_id}:{question.text}",
        choice=vim.option.ChoiceOption(
            valueIsReadonly=True, choiceInfo=choices, defaultIndex=question.default
        ),
        message=[vim.vm.Message(id=question.message_id, text=question.text)],
    )
